/** An operation on a client of Redis whose handler counts how often each key ran. */
import { isIdempotencyError } from '../../src/core/errors.ts'
import { recordId } from '../../src/core/scope.ts'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { type RedisClient, redisStore, type RedisStoreOptions } from '../../src/stores/redis.ts'

export interface Counted {
  /** What a call came to: its value, or the code of its error. */
  ask(key: string): Promise<string>
  /** The id of the record of a key. */
  idOf(key: string): string
  close(): Promise<void>
}

/** How often the handler of each key was started, whichever process and client it was. */
export type Runs = Map<string, number>

/** An operation on a client; its handler waits for `gate`. */
export function counted(
  client: RedisClient,
  runs: Runs,
  options: Partial<RedisStoreOptions> = {},
  gate: (key: string) => Promise<void> | void = () => {},
): Counted {
  const store = redisStore({ client, onReady: () => {}, ...options })
  const idem = createIdempotency({ store, lease: '2s', onUnknown: 'hold' })
  const operation = idem.operation('charge', { onError: 'unknown' }, async (key: string) => {
    const run = (runs.get(key) ?? 0) + 1
    runs.set(key, run)
    await gate(key)
    return `${key}, run ${run}`
  })
  return {
    async ask(key) {
      try {
        return (await operation.run({ key, principal: 'alice', input: key })).value
      } catch (error) {
        if (isIdempotencyError(error)) return error.code
        throw error
      }
    },
    idOf: (key) =>
      recordId(idem.digest, { namespace: 'default', principal: 'alice', operation: 'charge' }, key),
    close: () => idem.close(),
  }
}
