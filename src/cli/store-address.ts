/** Opens the store that a configuration names. */
import { mkdirSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { isIdempotencyError, StoreError } from '../core/errors.ts'
import type { IdempotencyStore } from '../core/store.ts'
import type { StoreAddress } from '../gateway/config.ts'
import { type RedisAddress, shownRedisAddress } from '../gateway/redis-address.ts'
import { memoryStore } from '../stores/memory.ts'
import { asStoreError } from '../stores/redis/errors.ts'
import { redisStore } from '../stores/redis.ts'
import { sqliteStore } from '../stores/sqlite.ts'
import { failure } from './failure.ts'
import { connectRedis } from './redis-client.ts'

/** Where state is kept unless told otherwise, below the working folder. */
export const stateFolder = '.retrysafe'

export interface OpenedStore {
  readonly store: IdempotencyStore
  /** What the settings of its server promise, in a sentence. */
  readonly durability?: string
  /** Gives up the connection, when the store is closed. */
  end(): void
}

/** @throws CommandError naming the address and what is wrong with it */
export async function openStore(address: StoreAddress): Promise<OpenedStore> {
  switch (address.kind) {
    case 'memory':
      return { store: memoryStore(), end: nothing }
    case 'sqlite':
      return { store: await openSqlite(address.file), end: nothing }
    case 'redis':
      return await openRedis(address)
    default:
      return address satisfies never
  }
}

async function openSqlite(file: string): Promise<IdempotencyStore> {
  if (resolve(dirname(file)) === resolve(stateFolder)) makeStateFolder()
  const folder = statSync(dirname(file), { throwIfNoEntry: false })
  if (folder?.isDirectory() !== true)
    throw failure(`The store cannot be opened: ${dirname(file)} is no folder.`)
  const found = statSync(file, { throwIfNoEntry: false })
  if (found?.isFile() === false) throw failure(`The store cannot be opened: ${file} is no regular file.`)
  try {
    const store = sqliteStore({ file })
    await store.ready()
    return store
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw failure(
      isIdempotencyError(error, 'schema-mismatch')
        ? `The store in ${file} cannot be used: ${reason}`
        : `The store cannot be opened in ${file}: ${reason}`,
    )
  }
}

async function openRedis(address: RedisAddress): Promise<OpenedStore> {
  const link = connectRedis(address, 'retrysafe_gateway')
  try {
    await link.connected
    const store = redisStore({ client: link.client, onReady: nothing })
    const { sentence } = await store.ready()
    return { store, durability: sentence, end: () => link.close() }
  } catch (error) {
    link.close()
    throw failure(
      `The store on ${shownRedisAddress(address)} cannot be used: ${asStoreError(error).message}`,
      redisAdvice(address, error),
    )
  }
}

/** What to do about it. Words of the client library are not shown: they may hold what was sent. */
function redisAdvice({ tls }: RedisAddress, error: unknown): string {
  if (isIdempotencyError(error, 'option-invalid')) {
    return 'Set it on the server: CONFIG SET maxmemory-policy noeviction, and in its configuration.'
  }
  const given = asStoreError(error)
  switch (given instanceof StoreError ? given.failure : undefined) {
    case 'permanent':
      return 'See that user name, password and number of the database are right: redis://user:password@host:6379/0.'
    case 'wrong-node':
      return 'Name its master, the one that takes writes.'
    case 'transient':
      return `See that host and port are right and that the server runs${tls ? ' and speaks TLS on this port; without TLS it is redis://' : ''}.`
    default:
      return tls
        ? 'See that the server speaks TLS on this port; without TLS it is redis://.'
        : 'See that host and port are right; where the server speaks TLS on this port it is rediss://.'
  }
}

const nothing = (): void => {}

/** @throws CommandError */
export function makeStateFolder(): void {
  try {
    mkdirSync(stateFolder, { recursive: true })
  } catch (error) {
    throw failure(`The folder ${stateFolder} cannot be created: ${(error as Error).message}`)
  }
}
