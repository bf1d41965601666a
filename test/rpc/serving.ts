/** What the tests of this room share: instances, stores that fail, and servers on loopback. */
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'
import { StoreError } from '../../src/core/errors.ts'
import { createIdempotency, type Idempotency } from '../../src/engine/idempotency.ts'
import { memoryStore } from '../../src/stores/memory.ts'

/** An instance on a store of its own that is closed with the test. */
export function instance(): Idempotency {
  const idem = createIdempotency({ store: memoryStore(), sweep: false })
  onTestFinished(() => idem.close())
  return idem
}

/** An instance whose store takes no claim. */
export function instanceWithoutStore(): Idempotency {
  const claim = (): Promise<never> => Promise.reject(new StoreError('permanent', 'The store is down.'))
  const idem = createIdempotency({ store: Object.assign(memoryStore(), { claim }), sweep: false })
  onTestFinished(() => idem.close())
  return idem
}

/** Serves a listener on loopback until the test ends, and resolves to its origin. */
export async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** A gate at which handlers wait, so that a test decides when they go on. */
export interface Gate {
  readonly opened: Promise<void>
  open(): void
}

export function gate(): Gate {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { opened: promise, open: resolve }
}
