/** WebSocket: the upgrade is passed to the upstream, and then octets go through until either side ends. */
import { type IncomingMessage, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import type { HeaderLine } from '../core/outcome.ts'
import { toClient, toUpstream } from './fields.ts'
import { splitTarget } from './match.ts'
import type { Upstream } from './upstream.ts'

const answerWithinMs = 30_000

/** Whether a request asks for a WebSocket (RFC 6455, section 4.1); other upgrades are ignored. */
export function asksForWebSocket(request: IncomingMessage): boolean {
  return request.method === 'GET' && request.headers.upgrade?.toLowerCase() === 'websocket'
}

/** Resolves when the upstream has answered; `track` gets both sockets, to end them at shutdown. */
export function passUpgrade(
  upstream: Upstream,
  request: IncomingMessage,
  client: Duplex,
  head: Buffer,
  track: (socket: Duplex) => void,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const end = (status: number): void => {
    if (client.writable) client.end(statusLine(status, [['Content-Length', '0']]))
    resolve()
  }
  client.on('error', () => client.destroy())
  track(client)
  const target = splitTarget(request.url ?? '')
  if (!asksForWebSocket(request) || target === undefined) {
    end(400)
    return promise
  }
  const headers = toUpstream(request, upstream.host)
  upstream.send(
    { method: 'GET', path: target.target, headers, body: null, upgrade: 'websocket' },
    { idleMs: answerWithinMs },
    {
      onHead(answer, flow) {
        // No upgrade: the answer ends with the connection.
        if (client.writable) client.write(statusLine(answer.status, toClient(answer.headers)))
        client.on('drain', () => flow.resume())
        client.on('close', () => flow.abort())
      },
      onData: (chunk) => void (client.writable && client.write(chunk)),
      onEnd() {
        client.end()
        resolve()
      },
      onFail(failure) {
        end(failure === 'timeout' ? 504 : 502)
      },
      onUpgrade(answer, socket) {
        track(socket)
        const lines: HeaderLine[] = [
          ['Connection', 'Upgrade'],
          ['Upgrade', 'websocket'],
        ]
        client.write(head101([...lines, ...toClient(answer.headers)]))
        socket.on('error', () => socket.destroy())
        socket.on('close', () => client.destroy())
        client.on('close', () => socket.destroy())
        if (head.length > 0) socket.write(head)
        socket.pipe(client)
        client.pipe(socket)
        resolve()
      },
    },
  )
  return promise
}

function head101(lines: readonly HeaderLine[]): Buffer {
  return headOctets('101 Switching Protocols', lines)
}

function statusLine(status: number, lines: readonly HeaderLine[]): Buffer {
  return headOctets(`${status} ${STATUS_CODES[status] ?? ''}`, [...lines, ['Connection', 'close']])
}

function headOctets(status: string, lines: readonly HeaderLine[]): Buffer {
  const text = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  return Buffer.from(`HTTP/1.1 ${status}\r\n${text}\r\n`, 'latin1')
}
