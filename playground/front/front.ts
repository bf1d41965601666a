/** The playground: one server on loopback that serves the page with Vite, and stands between it and the shops. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import { createServer as createVite, type ViteDevServer } from 'vite'
import { type CallOutcome, faults, type Side, sides } from '../happenings.ts'
import { ledgerFiles, openLedger, readCharges } from '../shop/ledger.ts'
import { Journal } from './journal.ts'
import { Relay } from './relay.ts'

export interface Playground {
  readonly origin: string
  /** The shops' processes: the one that works, and the one that stands by. */
  readonly pids: readonly number[]
  /** Ends all processes and removes all files. */
  close(): Promise<void>
}

const sources = join(import.meta.dirname, '../..')
const pageFolder = join(import.meta.dirname, '../page')

/**
 * Starts everything. `port` 0 takes any that is free.
 *
 * @throws where the port is taken, or a shop does not start
 */
export async function startPlayground({ port }: { readonly port: number }): Promise<Playground> {
  const server = createServer()
  // A browser sends a request again by itself when a connection that was used before breaks. Here none is used twice.
  server.maxRequestsPerSocket = 1
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')

  const folder = mkdtempSync(join(tmpdir(), 'retrysafe-playground-'))
  const files = ledgerFiles(folder)
  const ledgers = { without: openLedger(files.without), with: openLedger(files.with) }
  const journal = new Journal(() => ({
    without: readCharges(ledgers.without),
    with: readCharges(ledgers.with),
  }))
  const relay = new Relay(folder, journal)
  const pages = servePages(folder, server)

  async function close(): Promise<void> {
    journal.close()
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await Promise.all([closed, relay.close(), pages.then((vite) => vite.close())])
    for (const ledger of Object.values(ledgers)) ledger.close()
    rmSync(folder, { recursive: true, force: true })
  }

  function reset(): void {
    for (const ledger of Object.values(ledgers)) ledger.exec('DELETE FROM charges')
    relay.reset()
  }

  try {
    const [vite] = await Promise.all([pages, relay.ready()])
    const routes = routesTo(journal, relay, reset)
    server.on('request', (request, response) => {
      answer(routes, vite, request, response).catch((error: unknown) => {
        if (!response.headersSent) response.writeHead(500)
        response.end(String(error))
      })
    })
  } catch (error) {
    await close()
    throw error
  }
  const { port: own } = server.address() as AddressInfo
  return {
    origin: `http://127.0.0.1:${own}`,
    get pids() {
      return relay.pids
    },
    close,
  }
}

/** The page, compiled as it is asked for. */
function servePages(folder: string, server: Server): Promise<ViteDevServer> {
  return createVite({
    configFile: false,
    root: pageFolder,
    cacheDir: join(folder, 'vite'),
    appType: 'spa',
    logLevel: 'warn',
    clearScreen: false,
    resolve: { alias: { 'retrysafe/client': join(sources, 'src/client/browser.ts') } },
    optimizeDeps: { noDiscovery: true, include: [] },
    server: {
      middlewareMode: true,
      ws: { server },
      warmup: { clientFiles: ['./main.ts', './*/*.ts'] },
      fs: { allow: [join(sources, 'playground'), join(sources, 'src')] },
    },
  })
}

type Route = (request: IncomingMessage, response: ServerResponse) => unknown

function routesTo(journal: Journal, relay: Relay, reset: () => void): Readonly<Record<string, Route>> {
  return {
    'GET /playground/log': (_, response) => journal.follow(response),
    'POST /playground/orders': async (request, response) => {
      const { clicks, fault } = (await json(request)) as { clicks: unknown; fault: unknown }
      const order = relay.place(clicks === 2 ? 2 : 1, faults.find((each) => each === fault) ?? null)
      response.writeHead(201, { 'Content-Type': 'application/json' }).end(JSON.stringify(order))
    },
    'POST /playground/outcomes': async (request, response) => {
      const { order, side, outcome } = (await json(request)) as OutcomeReport
      if (sides.includes(side)) relay.end(order, side, { ...outcome, kind: 'outcome' })
      response.writeHead(204).end()
    },
    'POST /playground/reset': (_, response) => {
      reset()
      response.writeHead(204).end()
    },
    'POST /shop/without/charges': (request, response) => relay.carry('without', request, response),
    'POST /shop/with/charges': (request, response) => relay.carry('with', request, response),
  }
}

interface OutcomeReport {
  readonly order: string
  readonly side: Side
  readonly outcome: CallOutcome
}

async function answer(
  routes: Readonly<Record<string, Route>>,
  vite: ViteDevServer,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { pathname } = new URL(request.url ?? '/', 'http://localhost')
  const route = routes[`${request.method} ${pathname}`]
  if (route === undefined) return vite.middlewares(request, response, () => response.writeHead(404).end())
  if (!isOwn(request)) return void response.writeHead(403).end()
  await route(request, response)
}

/** A page of another site can reach this server, but neither under its own host name nor with JSON. */
function isOwn({ headers, method }: IncomingMessage): boolean {
  if (!/^(127\.0\.0\.1|localhost):\d+$/.test(headers.host ?? '')) return false
  return method === 'GET' || headers['content-type'] === 'application/json'
}
