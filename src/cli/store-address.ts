/** Opens the store that a configuration names. */
import { mkdirSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { isIdempotencyError } from '../core/errors.ts'
import type { IdempotencyStore } from '../core/store.ts'
import type { StoreAddress } from '../gateway/config.ts'
import { memoryStore } from '../stores/memory.ts'
import { sqliteStore } from '../stores/sqlite.ts'
import { failure } from './failure.ts'

/** Where state is kept unless told otherwise, below the working folder. */
export const stateFolder = '.retrysafe'

/** @throws CommandError naming the file and what is wrong with it */
export async function openStore(address: StoreAddress): Promise<IdempotencyStore> {
  switch (address.kind) {
    case 'memory':
      return memoryStore()
    case 'sqlite':
      return await openSqlite(address.file)
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

/** @throws CommandError */
export function makeStateFolder(): void {
  try {
    mkdirSync(stateFolder, { recursive: true })
  } catch (error) {
    throw failure(`The folder ${stateFolder} cannot be created: ${(error as Error).message}`)
  }
}
