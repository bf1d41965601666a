/** Clients that see what a server really sent, and stores whose verbs a test controls. */
import { request as httpRequest } from 'node:http'
import { connect, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import type { IdempotencyStore } from '../../src/core/store.ts'

export interface Sent {
  readonly method?: string
  readonly path?: string
  readonly key?: string | undefined
  readonly headers?: Readonly<Record<string, string>>
  /** Several pieces are sent chunked. */
  readonly body?: string | Uint8Array | readonly (string | Uint8Array)[]
}

export interface Received {
  readonly status: number
  /** Name and value of each line, as sent. */
  readonly lines: readonly (readonly [string, string])[]
  readonly body: Buffer
  /** Whether the answer came whole. */
  readonly whole: boolean
  header(name: string): string | undefined
}

/** Sends one request on a connection of its own; rejects only where no answer began. */
export function send(port: number, sent: Sent = {}): Promise<Received> {
  const { method = 'POST', path = '/x', key = 'k', body = '{"amount":1}' } = sent
  const headers = {
    'content-type': 'application/json',
    ...(key === '' ? {} : { 'idempotency-key': key }),
    ...(Array.isArray(body) ? {} : { 'content-length': String(Buffer.byteLength(body as string)) }),
    ...sent.headers,
  }
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, method, path, headers, agent: false }
    const request = httpRequest(options, (response) => {
      const pieces: Buffer[] = []
      const lines: [string, string][] = []
      const { rawHeaders } = response
      for (let at = 0; at < rawHeaders.length; at += 2) {
        lines.push([rawHeaders[at] as string, rawHeaders[at + 1] as string])
      }
      response.on('data', (piece: Buffer) => pieces.push(piece))
      response.on('error', () => {})
      response.on('close', () => {
        resolve({
          status: response.statusCode as number,
          lines,
          body: Buffer.concat(pieces),
          whole: response.complete,
          header: (name) => lines.find(([field]) => field.toLowerCase() === name.toLowerCase())?.[1],
        })
      })
    })
    request.on('error', reject)
    for (const piece of Array.isArray(body) ? body : [body]) request.write(piece)
    request.end()
  })
}

/** A connection on which a test writes octets and watches what comes back. */
export function openSocket(port: number): { socket: Socket; text: () => string; closed: Promise<void> } {
  const socket = connect(port, '127.0.0.1')
  let received = ''
  socket.setEncoding('latin1')
  socket.on('data', (piece: string) => {
    received += piece
  })
  socket.on('error', () => {})
  onTestFinished(() => {
    socket.destroy()
  })
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  return { socket, text: () => received, closed }
}

/** A store with some verbs replaced. */
export function storeWith(store: IdempotencyStore, verbs: Partial<IdempotencyStore>): IdempotencyStore {
  return new Proxy(store, {
    get(target, name) {
      const replaced: unknown = Reflect.get(verbs, name)
      if (replaced !== undefined) return replaced
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}
