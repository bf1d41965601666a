/**
 * The gateway: a server in front of one upstream, with idempotency for protected requests.
 *
 * created    made, nothing listens. Left by `listen` or `close`.
 * listening  requests are taken. Left by `close`.
 * draining   no new request is taken; running ones go on, at most `drainTimeoutMs`, then they are broken.
 * closed     connections, upstream and store are closed; nothing leaves it.
 */
import { once } from 'node:events'
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import type { IdempotencyStore } from '../core/store.ts'
import { createIdempotency, type Idempotency } from '../engine/idempotency.ts'
import type { GatewayConfig } from './config.ts'
import { Exchange } from './exchange.ts'
import { answerHealth } from './health.ts'
import { type GatewayLog, logToStandardOutput } from './log.ts'
import { splitTarget } from './match.ts'
import { Running } from './running.ts'
import { passThrough } from './pass-through.ts'
import { problems } from './problem.ts'
import { createProtector, type Protector } from './protected.ts'
import { type Protection, protectionOf } from './routing.ts'
import { createUpstream } from './upstream.ts'
import { asksForWebSocket, passUpgrade } from './upgrade.ts'

/** Largest head of a request. There is no bound on the number of its fields: a key behind it would get lost. */
const headBytesMax = 32 * 1024
/** Clients at once; more are not accepted. */
const connectionsMax = 10_000
const headTimeoutMs = 30_000
const requestTimeoutMs = 300_000
/** Longer than load balancers keep idle connections, so that they never send on one that just closed. */
const keepAliveMs = 65_000
/** How long answers may take to leave once the upstream was broken off. */
const lastAnswersMs = 1_000

/** Paths that the gateway answers itself. */
const ownPrefix = '/.retrysafe/'
const overrideFields = ['x-http-method-override', 'x-http-method', 'x-method-override']

export interface GatewayParts {
  /** Opened by the caller, closed by the gateway. */
  readonly store: IdempotencyStore
  /** Default: JSON lines on the standard output. */
  readonly log?: GatewayLog
}

export interface Gateway extends AsyncDisposable {
  /** Resolves once requests are taken. Rejects with the system's error where the port cannot be had. */
  listen(): Promise<{ readonly port: number }>
  /** Takes no more requests, lets running ones end, then closes everything. May be called more than once. */
  close(): Promise<void>
}

/**
 * Creates a gateway.
 *
 * @throws InvalidOptionError
 * @example
 * const { config } = parseGatewayConfig(text, 'gateway.yaml', process.env)
 * const gateway = createGateway(config, { store: sqliteStore({ file: './records.db' }) })
 * await gateway.listen()
 */
export function createGateway(config: GatewayConfig, parts: GatewayParts): Gateway {
  const { store, log = logToStandardOutput } = parts
  const idem = createIdempotency({ store, namespace: config.namespace })
  const upstream = createUpstream(config.upstream)
  const running = new Running()
  const front: Front = {
    config,
    idem,
    upstream,
    log,
    protector: createProtector({ config, engine: idem, upstream }),
    running,
    upgraded: new Set(),
    isDraining: () => closing !== undefined,
  }
  const server = createFrontServer(front)
  let closing: Promise<void> | undefined

  async function closeAll(): Promise<void> {
    const { listening } = server
    if (listening) log({ event: 'draining' })
    const closed = listening ? once(server, 'close') : Promise.resolve()
    server.close()
    for (const socket of front.upgraded) socket.end()
    await running.idle(config.drainTimeoutMs)
    // What still runs ends now: first the upstream, whose end is an answer to the client, then the clients.
    await upstream.close()
    await running.idle(lastAnswersMs)
    for (const socket of front.upgraded) socket.destroy()
    server.closeAllConnections()
    await closed
    await idem.close()
    if (listening) log({ event: 'closed' })
  }

  const gateway: Gateway = {
    async listen() {
      const { host, port } = config.listen
      server.listen(port, host)
      await once(server, 'listening')
      const taken = (server.address() as AddressInfo).port
      return { port: taken }
    },
    close() {
      closing ??= closeAll()
      return closing
    },
    [Symbol.asyncDispose]: () => gateway.close(),
  }
  return gateway
}

interface Front {
  readonly config: GatewayConfig
  readonly idem: Idempotency
  readonly upstream: ReturnType<typeof createUpstream>
  readonly log: GatewayLog
  readonly protector: Protector
  readonly running: Running
  readonly upgraded: Set<Duplex>
  isDraining(): boolean
}

function createFrontServer(front: Front): Server {
  // The types of the oldest supported Node do not know `shouldUpgradeCallback`.
  const options: ServerOptions & { shouldUpgradeCallback: (request: IncomingMessage) => boolean } = {
    maxHeaderSize: headBytesMax,
    headersTimeout: headTimeoutMs,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: keepAliveMs,
    shouldUpgradeCallback: asksForWebSocket,
  }
  const server = createServer(options)
  server.maxHeadersCount = 0
  server.maxConnections = connectionsMax
  const take = (request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void => {
    // An answer that is still on its way to a slow client is running too.
    const { running } = front
    running.enter(2)
    response.on('close', () => running.leave())
    void answer(front, new Exchange(request, response, expectsContinue, front)).finally(() => running.leave())
  }
  server.on('request', (request, response) => take(request, response, false))
  server.on('checkContinue', (request, response) => take(request, response, true))
  server.on('upgrade', (request, socket, head) => {
    const keep = (kept: Duplex): void => {
      front.upgraded.add(kept)
      kept.on('close', () => front.upgraded.delete(kept))
    }
    front.running.enter(1)
    void passUpgrade(front.upstream, request, socket, head, keep).finally(() => front.running.leave())
  })
  return server
}

async function answer(front: Front, exchange: Exchange): Promise<void> {
  const { response } = exchange
  response.on('error', () => {})
  try {
    await route(front, exchange)
  } catch {
    if (response.headersSent) {
      exchange.log({ event: 'failed', code: problems.failed.code })
      response.destroy()
    } else {
      exchange.refuse(problems.failed, 'failed')
    }
  }
}

async function route(front: Front, exchange: Exchange): Promise<void> {
  const { config, upstream } = front
  const { request, method } = exchange
  if (front.isDraining()) return exchange.refuse(problems.draining)
  const target = splitTarget(request.url ?? '')
  if (target === undefined) return exchange.refuse(problems.badTarget)
  if (target.path.startsWith(ownPrefix)) {
    if (target.path === `${ownPrefix}health`) return await answerHealth(front.idem.store, exchange)
    return exchange.refuse(problems.notFound)
  }
  const protection = protectionOf(config, method, target.path)
  exchange.route = protection.route
  if (overridesProtection(config, request, target.path, protection)) {
    return exchange.refuse(problems.methodOverride)
  }
  if (protection.kind === 'protected') {
    if (request.headers['early-data'] === '1') return exchange.refuse(problems.earlyData)
    const { options } = protection
    if ((await front.protector.answer({ exchange, target, options })) === 'answered') return
  }
  exchange.askForBody()
  const finishesAlone = protection.kind === 'protected'
  await passThrough({ upstream, exchange, target: target.target, finishesAlone })
}

/** Whether an upstream that obeys an override would run a protected method that the gateway did not see. */
function overridesProtection(
  config: GatewayConfig,
  request: IncomingMessage,
  path: string,
  protection: Protection,
): boolean {
  return overrideFields.some((field) => {
    const named = request.headers[field]
    if (named === undefined) return false
    const method = String(named).trim().toUpperCase()
    if (method === request.method) return false
    return protection.kind === 'protected' || protectionOf(config, method, path).kind === 'protected'
  })
}
