/** Clients that see what a server really sent, and stores whose verbs a test controls. */
import { connect, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import type { IdempotencyStore } from '../../src/core/store.ts'
import { type Received, sendHttp } from '../../src/verification/http-fidelity/wire.ts'

export type { Received } from '../../src/verification/http-fidelity/wire.ts'

export interface Sent {
  readonly method?: string
  readonly path?: string
  readonly key?: string | undefined
  readonly headers?: Readonly<Record<string, string>>
  /** Several pieces are sent chunked. */
  readonly body?: string | Uint8Array | readonly (string | Uint8Array)[]
}

/** Sends one request on a connection of its own; rejects only where no answer began. */
export function send(port: number, sent: Sent = {}): Promise<Received> {
  const { path = '/x', key = 'k', body = '{"amount":1}', ...rest } = sent
  const headers = {
    'content-type': 'application/json',
    ...(key === '' ? {} : { 'idempotency-key': key }),
    ...sent.headers,
  }
  return sendHttp(port, { ...rest, path, body, headers })
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
