/** The table of SQLite's errors: each class that can be had from a live file, the others as a driver gives them. */
import { mkdtempSync, rmSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { asStoreError, isBusy, isOfItem } from '../../src/stores/sqlite/errors.ts'
import { type SqliteDatabase, type SqliteStore, sqliteStore } from '../../src/stores/sqlite.ts'
import { completion, newClaim } from '../../src/verification/store-cases/context.ts'

const asNodeGives = (errcode: number): Error =>
  Object.assign(new Error('x'), { code: 'ERR_SQLITE_ERROR', errcode })
const asBetterGives = (code: string): Error => Object.assign(new Error('x'), { code })

describe('the table', () => {
  test.each([
    ['BUSY', 5, 'SQLITE_BUSY', 'transient', 'transient'],
    ['BUSY_SNAPSHOT', 517, 'SQLITE_BUSY_SNAPSHOT', 'transient', 'transient'],
    ['LOCKED', 6, 'SQLITE_LOCKED', 'transient', 'transient'],
    ['NOMEM', 7, 'SQLITE_NOMEM', 'transient', 'transient'],
    ['READONLY_DBMOVED', 1032, 'SQLITE_READONLY_DBMOVED', 'permanent', 'permanent'],
    ['INTERRUPT', 9, 'SQLITE_INTERRUPT', 'transient', 'unrecognised'],
    ['IOERR_FSYNC', 1034, 'SQLITE_IOERR_FSYNC', 'transient', 'lost'],
    ['CORRUPT', 11, 'SQLITE_CORRUPT', 'permanent', 'permanent'],
    ['FULL', 13, 'SQLITE_FULL', 'permanent', 'permanent'],
    ['CANTOPEN', 14, 'SQLITE_CANTOPEN', 'permanent', 'permanent'],
    ['PROTOCOL', 15, 'SQLITE_PROTOCOL', 'transient', 'transient'],
    ['CONSTRAINT_UNIQUE', 2067, 'SQLITE_CONSTRAINT_UNIQUE', 'permanent', 'permanent'],
    ['NOTADB', 26, 'SQLITE_NOTADB', 'permanent', 'permanent'],
    ['an unknown code', 250, 'SQLITE_NEWS', 'unrecognised', 'unrecognised'],
  ])('%s', (_name, errcode, code, failure, failureAtCommit) => {
    for (const error of [asNodeGives(errcode), asBetterGives(code)]) {
      expect(asStoreError(error, 'statement')).toMatchObject({ code: 'store-failed', failure, cause: error })
      expect(asStoreError(error, 'commit')).toMatchObject({ failure: failureAtCommit })
    }
  })

  test('tells what is worth waiting for, and what concerns one item', () => {
    expect([5, 517, 15, 6, 13].map((code) => isBusy(asNodeGives(code)))).toEqual([
      true,
      true,
      true,
      false,
      false,
    ])
    expect([2067, 18, 13, 10].map((code) => isOfItem(asNodeGives(code)))).toEqual([true, true, false, false])
    expect(isOfItem(new TypeError('cannot be bound'))).toBe(true)
    expect(asStoreError('not even an error', 'commit')).toMatchObject({ failure: 'unrecognised' })
  })
})

describe('a live file', () => {
  let folder: string
  let file: string
  let stores: SqliteStore[]

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'retrysafe-errors-'))
    file = join(folder, 'records.db')
    stores = []
  })

  afterEach(async () => {
    for (const store of stores) await store.close()
    rmSync(folder, { recursive: true })
  })

  function open(connect: () => SqliteDatabase = () => new DatabaseSync(file)): SqliteStore {
    const store = sqliteStore({ open: connect })
    stores.push(store)
    return store
  }

  /** A connection whose next COMMIT fails as `how` says, once `fail` was called. */
  function failingCommit(how: 'before' | 'after'): { connect: () => SqliteDatabase; fail: () => void } {
    let failing = false
    const connect = (): SqliteDatabase => {
      const db = new DatabaseSync(file)
      return {
        prepare: (sql) => db.prepare(sql),
        close: () => db.close(),
        get isTransaction() {
          return db.isTransaction
        },
        exec(sql): void {
          const isFailing = failing && sql === 'COMMIT'
          if (!isFailing || how === 'after') db.exec(sql)
          if (!isFailing) return
          failing = false
          throw asNodeGives(1034)
        },
      }
    }
    return { connect, fail: () => (failing = true) }
  }

  test('that is full fails verbs as permanent, keeps nothing of them, and goes on once there is room', async () => {
    const opened: DatabaseSync[] = []
    const store = open(() => {
      const db = new DatabaseSync(file)
      db.exec('PRAGMA max_page_count = 40')
      opened.push(db)
      return db
    })
    const [small, large] = [newClaim(), newClaim()]
    await store.claim([small, large])
    const settlements = [completion(small), completion(large, { outcome: Buffer.alloc(500_000) })]
    await expect(store.settle(settlements)).rejects.toMatchObject({ failure: 'permanent' })
    await expect(store.settle([settlements[1] as never])).rejects.toMatchObject({ failure: 'permanent' })
    const { replies } = await store.read([small.id, large.id])
    expect(replies.map((record) => record?.phase)).toEqual(['running', 'running'])
    const work = store.transaction(async (_tx, records) => {
      await records.settle(settlements)
      return { kind: 'commit', value: undefined }
    })
    await expect(work).rejects.toMatchObject({ failure: 'permanent' })
    for (const db of opened) if (db.isOpen) db.exec('PRAGMA max_page_count = 4000')
    expect((await store.settle(settlements)).replies).toEqual([{ kind: 'settled' }, { kind: 'settled' }])
  })

  test('that is damaged fails as permanent and is never taken for an empty one', async () => {
    const first = open()
    const claims = Array.from({ length: 300 }, () => newClaim())
    await first.claim(claims)
    await first.close()
    truncateSync(file, 3 * 4_096)
    const store = open()
    const claim = store.claim([newClaim({ id: claims[299]?.id as never })])
    await expect(claim).rejects.toMatchObject({ code: 'store-failed', failure: 'permanent' })
  })

  test.each(['before', 'after'] as const)('a group whose COMMIT fails %s it is lost', async (how) => {
    const { connect, fail } = failingCommit(how)
    const store = open(connect)
    await store.ready()
    const claims = [newClaim(), newClaim()]
    const known = newClaim()
    await store.claim([known])
    fail()
    const renewals = [known, newClaim()].map(({ id, token }) => ({ id, token, leaseMs: 1_000 }))
    await expect(store.renew(renewals)).rejects.toMatchObject({ code: 'store-failed', failure: 'lost' })
    expect((await store.claim(claims)).replies.map(({ kind }) => kind)).toEqual(['claimed', 'claimed'])
  })

  test.each(['before', 'after'] as const)(
    'a transaction whose COMMIT fails %s it ends as unknown',
    async (how) => {
      const { connect, fail } = failingCommit(how)
      const store = open(connect)
      const claim = newClaim()
      const end = await store.transaction(async (_tx, records) => {
        await records.claim([claim])
        await records.settle([completion(claim)])
        fail()
        return { kind: 'commit', value: 'done' }
      })
      expect(end).toMatchObject({ kind: 'unknown', value: 'done', error: { failure: 'lost' } })
      // Whoever claims the key now learns what became of it.
      const { replies } = await store.claim([newClaim({ id: claim.id })])
      expect(replies[0]?.kind).toBe(how === 'after' ? 'found' : 'claimed')
    },
  )
})
