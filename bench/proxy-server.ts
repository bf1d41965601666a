/** The floor under the gateway: a proxy that streams both ways and does nothing else. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Dispatcher, Pool } from 'undici'
import { serveParent } from './child.ts'

const [, , upstreamPort = ''] = process.argv
const pool = new Pool(`http://127.0.0.1:${upstreamPort}`, { connections: 1_024, pipelining: 1 })

/** Fields of one connection only (RFC 9110, section 7.6.1). */
const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

function passable(lines: readonly string[]): string[] {
  const kept: string[] = []
  for (let at = 0; at + 1 < lines.length; at += 2) {
    const name = lines[at] as string
    if (!hopByHop.has(name.toLowerCase())) kept.push(name, lines[at + 1] as string)
  }
  return kept
}

class Answer implements Dispatcher.DispatchHandler {
  readonly #response: ServerResponse
  constructor(response: ServerResponse) {
    this.#response = response
  }
  onRequestStart(): void {}
  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    const lines = (controller.rawHeaders as Buffer[]).map((line) => line.toString('latin1'))
    this.#response.writeHead(status, passable(lines))
  }
  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#response.write(chunk)
  }
  onResponseEnd(): void {
    this.#response.end()
  }
  onResponseError(): void {
    this.#response.destroy()
  }
}

const server = createServer((request: IncomingMessage, response) => {
  const headers = passable(request.rawHeaders)
  pool.dispatch(
    { method: request.method as Dispatcher.HttpMethod, path: request.url as string, headers, body: request },
    new Answer(response),
  )
}).listen(0, '127.0.0.1')
await once(server, 'listening')
serveParent((server.address() as AddressInfo).port)
