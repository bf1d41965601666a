/** A gateway in this process, an upstream whose behaviour a test writes, and raw sockets to look at both. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, request, type Server } from 'node:http'
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import type { IdempotencyStore } from '../../src/core/store.ts'
import { defaultRouteOptions, type GatewayConfig, parseGatewayConfig } from '../../src/gateway/config.ts'
import { createGateway, type Gateway } from '../../src/gateway/gateway.ts'
import type { GatewayEvent } from '../../src/gateway/log.ts'
import { memoryStore } from '../../src/stores/memory.ts'

export interface StartedGateway {
  readonly origin: string
  readonly port: number
  readonly gateway: Gateway
  readonly events: GatewayEvent[]
}

/** Starts a gateway on a free port; `yaml` is its configuration without `upstream`. */
export async function startGateway(
  upstream: string,
  yaml = '',
  store: IdempotencyStore = memoryStore(),
): Promise<StartedGateway> {
  const { config: file, problems } = parseGatewayConfig(yaml, 'test.yaml', {})
  if (file === undefined) throw new Error(problems.join('\n'))
  const config: GatewayConfig = {
    store: { kind: 'memory' },
    principal: { kind: 'anonymous' },
    ...file,
    defaults: file.defaults ?? defaultRouteOptions,
    upstream,
    listen: { host: '127.0.0.1', port: 0 },
  }
  const events: GatewayEvent[] = []
  const gateway = createGateway(config, { store, log: (event) => events.push(event) })
  onTestFinished(() => gateway.close())
  const { port } = await gateway.listen()
  return { origin: `http://127.0.0.1:${port}`, port, gateway, events }
}

export interface StartedUpstream {
  readonly origin: string
  readonly port: number
  readonly server: Server
}

export async function startUpstream(listener: RequestListener, port = 0): Promise<StartedUpstream> {
  const server = createServer(listener)
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  const taken = (server.address() as AddressInfo).port
  return { origin: `http://127.0.0.1:${taken}`, port: taken, server }
}

/** An upstream of octets: gets each connection's first request, and writes what the test likes. */
export async function startRawUpstream(
  serve: (socket: Socket, requestText: string) => void,
): Promise<{ origin: string; requests: string[] }> {
  const requests: string[] = []
  const sockets = new Set<Socket>()
  const server = createTcpServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      if (!isWhole(text)) return
      requests.push(text)
      const whole = text
      text = ''
      serve(socket, whole)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests }
}

function isWhole(text: string): boolean {
  const end = text.indexOf('\r\n\r\n')
  if (end === -1) return false
  const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0)
  return text.length >= end + 4 + length
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly rawHeaders: readonly string[]
  readonly body: Buffer
}

export interface Call {
  readonly method?: string
  readonly path?: string
  readonly headers?: Record<string, string | string[]>
  readonly body?: string | Buffer
}

/** Sends one request; rejects where the answer breaks off. */
export async function call(origin: string, given: Call = {}): Promise<Answer> {
  const { method = 'POST', path = '/charges', headers = {}, body } = given
  const sent = request(`${origin}${path}`, { method, headers, agent: false })
  sent.end(body)
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  const chunks: Buffer[] = []
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk)
  const { statusCode = 0, rawHeaders } = response
  return { status: statusCode, headers: response.headers, rawHeaders, body: Buffer.concat(chunks) }
}

export function codeOf(answer: Answer): unknown {
  return (JSON.parse(answer.body.toString()) as { code?: unknown }).code
}

/** Writes octets and resolves with all that comes back until the connection ends. */
export async function rawExchange(port: number, text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(text, 'latin1')
  let answer = ''
  socket.on('data', (chunk) => (answer += chunk.toString('latin1')))
  await once(socket, 'close')
  return answer
}

/** Resolves once `condition` holds, asked after every turn of the event loop; the test's timeout bounds it. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve))
}

let keys = 0

/** A key that no other test uses. */
export function freshKey(): string {
  keys += 1
  return `key-${process.pid}-${keys}`
}
