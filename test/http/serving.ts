/** Real servers for the tests of this room, and requests with a key. */
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { onTestFinished } from 'vitest'
import { createIdempotency, type Idempotency } from '../../src/engine/idempotency.ts'
import { memoryStore } from '../../src/stores/memory.ts'

/** An instance on a store of its own that is closed with the test. */
export function instance(): Idempotency {
  const idem = createIdempotency({ store: memoryStore(), sweep: false })
  onTestFinished(() => idem.close())
  return idem
}

export interface Served {
  readonly origin: string
  readonly port: number
}

/** Serves a listener on loopback until the test ends. */
export async function serve(listener: RequestListener): Promise<Served> {
  const server = createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
  })
  const { port } = server.address() as AddressInfo
  return { origin: `http://127.0.0.1:${port}`, port }
}

export interface Answered {
  readonly status: number
  readonly headers: Headers
  readonly body: Buffer
  readonly replayed: boolean
}

/** Sends a POST with the key `k`, unless `init` has other fields. */
export async function post(origin: string, init: RequestInit = {}, path = '/x'): Promise<Answered> {
  const response = await fetch(origin + path, {
    method: 'POST',
    body: '{"amount":100}',
    redirect: 'manual',
    ...init,
    headers: { 'Content-Type': 'application/json', 'Idempotency-Key': 'k', ...init.headers },
  })
  return {
    status: response.status,
    headers: response.headers,
    body: Buffer.from(await response.arrayBuffer()),
    replayed: response.headers.get('idempotent-replayed') === 'true',
  }
}

/** The code of a problem document. */
export function codeOf({ body }: Answered): unknown {
  return (JSON.parse(body.toString()) as { code?: unknown }).code
}

/** Writes octets as they are and returns all that comes back. */
export async function exchange(port: number, text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  let received = ''
  socket.setEncoding('latin1')
  socket.on('data', (piece: string) => {
    received += piece
  })
  socket.on('error', () => {})
  socket.write(text, 'latin1')
  await once(socket, 'close')
  return received
}
