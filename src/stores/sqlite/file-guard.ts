/**
 * Notices that the file under an open connection was removed or replaced. SQLite would go on writing to the old
 * one, unseen by every process that opens the path anew, and keys would run twice.
 */
import { statSync } from 'node:fs'
import { StoreError } from '../../core/errors.ts'

const checkEveryMs = 1_000

export class FileGuard {
  readonly #identities: ReadonlyMap<string, string>
  #checkedAt: number
  #failure: StoreError | undefined

  /** @param path of the database, which is open; its write-ahead log stays as long as it is */
  constructor(path: string) {
    this.#identities = new Map([path, `${path}-wal`].map((name) => [name, identityOf(name)]))
    this.#checkedAt = performance.now()
  }

  /**
   * Looks at the file now and then.
   *
   * @throws StoreError `permanent`, from the first difference on
   */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure
    const now = performance.now()
    if (now - this.#checkedAt < checkEveryMs) return
    this.#checkedAt = now
    for (const [name, identity] of this.#identities) {
      if (identityOf(name) === identity) continue
      this.#failure = new StoreError(
        'permanent',
        'The SQLite file or its write-ahead log was removed or replaced while it was open. Put it back, or ' +
          'start anew with the other file.',
      )
      throw this.#failure
    }
  }
}

function identityOf(name: string): string {
  const found = statSync(name, { bigint: true, throwIfNoEntry: false })
  return found === undefined ? 'absent' : `${found.dev}:${found.ino}`
}
