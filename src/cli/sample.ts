/** The sample payments service: a plain server that knows nothing of idempotency keys. Its ledger is a file. */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'

const bodyBytesMax = 64 * 1024
const slowMsMax = 60_000
const shownRowsMax = 100

interface Charge {
  readonly id: string
  readonly amount: number
  readonly currency: string
  readonly at: string
}

export interface SampleService {
  /** Where it listens: `http://127.0.0.1:<port>`. */
  readonly origin: string
  close(): Promise<void>
}

/**
 * Starts the sample on a free port of this machine.
 *
 * `POST /charges {"amount", "currency"}` adds one row to the ledger and answers 201; `?slow=5000` takes that long.
 * `GET /ledger` counts the rows and shows the last hundred.
 *
 * @param file the ledger, one JSON line a charge; created where it is missing
 */
export async function startSample(file: string): Promise<SampleService> {
  const ledger = await open(file, 'a')
  const server = createServer((request, response) => {
    answer(request, response, file, ledger).catch(() => {
      if (!response.headersSent) reply(response, 500, { error: 'The ledger cannot be written.' })
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      server.close()
      server.closeAllConnections()
      await ledger.close()
    },
  }
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  file: string,
  ledger: FileHandle,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://sample')
  const route = `${request.method} ${url.pathname}`
  switch (route) {
    case 'GET /ledger': {
      const rows = await readLedger(file)
      return reply(response, 200, { count: rows.length, rows: rows.slice(-shownRowsMax) })
    }
    case 'POST /charges': {
      const asked = readCharge(await readBody(request))
      if (asked === undefined) {
        return reply(response, 400, {
          error: 'Send JSON with a whole amount above 0 and a currency of three letters.',
        })
      }
      const slowMs = Number(url.searchParams.get('slow') ?? 0)
      if (slowMs > 0) await delay(Math.min(slowMs, slowMsMax))
      const charge: Charge = { id: `ch_${randomUUID()}`, ...asked, at: new Date().toISOString() }
      await ledger.appendFile(`${JSON.stringify(charge)}\n`)
      await ledger.datasync()
      return reply(response, 201, charge, { Location: `/charges/${charge.id}` })
    }
    default:
      return reply(response, 404, { error: 'There are POST /charges and GET /ledger.' })
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes <= bodyBytesMax) chunks.push(chunk)
  }
  return bytes > bodyBytesMax ? '' : Buffer.concat(chunks).toString('utf8')
}

function readCharge(body: string): Pick<Charge, 'amount' | 'currency'> | undefined {
  let parsed: unknown
  try {
    parsed = JSON.parse(body)
  } catch {
    return undefined
  }
  if (typeof parsed !== 'object' || parsed === null) return undefined
  const { amount, currency } = parsed as Partial<Record<'amount' | 'currency', unknown>>
  if (typeof amount !== 'number' || !Number.isSafeInteger(amount) || amount <= 0) return undefined
  if (typeof currency !== 'string' || !/^[A-Za-z]{3}$/.test(currency)) return undefined
  return { amount, currency }
}

/** A row that was cut off by a crash counts for nothing. */
async function readLedger(file: string): Promise<unknown[]> {
  const rows: unknown[] = []
  for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
    try {
      rows.push(JSON.parse(line))
    } catch {
      continue
    }
  }
  return rows
}

function reply(
  response: ServerResponse,
  status: number,
  body: object,
  headers: Record<string, string> = {},
): void {
  const text = `${JSON.stringify(body)}\n`
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(text),
    ...headers,
  })
  response.end(text)
}
