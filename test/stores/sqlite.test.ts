/** Options, files that are none, schema versions, damaged rows and transactions, on real files. */
import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { RecordId } from '../../src/core/record.ts'
import {
  type SqliteDatabase,
  type SqliteStore,
  type SqliteStoreOptions,
  sqliteMigrations,
  sqliteStore,
} from '../../src/stores/sqlite.ts'
import { completion, newClaim, newId } from '../../src/verification/store-cases/context.ts'
import { eventually } from '../eventually.ts'

let folder: string
let file: string
let stores: SqliteStore[]

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'retrysafe-sqlite-'))
  file = join(folder, 'records.db')
  stores = []
})

afterEach(async () => {
  for (const store of stores) await store.close()
  rmSync(folder, { recursive: true })
})

function open(options: Partial<SqliteStoreOptions> = {}): SqliteStore {
  const store = sqliteStore({
    ...(options.open === undefined ? { file } : {}),
    ...options,
  } as SqliteStoreOptions)
  stores.push(store)
  return store
}

function execute(sql: string, path = file): void {
  const db = new DatabaseSync(path)
  db.exec(sql)
  db.close()
}

const plainUserId = 65_534

/** Root may write everywhere, so as root it steps down for a while. */
async function asPlainUser(run: () => Promise<void>): Promise<void> {
  if (process.geteuid?.() !== 0) return await run()
  chownSync(folder, plainUserId, plainUserId)
  process.seteuid?.(plainUserId)
  try {
    await run()
  } finally {
    process.seteuid?.(0)
  }
}

function hexOf(id: RecordId): string {
  return Buffer.from(id, 'base64url').toString('hex')
}

describe('options', () => {
  test.each([
    [{}, 'file'],
    [{ file: 'a.db', open: () => new DatabaseSync('a.db') }, 'file'],
    [{ file: '' }, 'file'],
    [{ file: 7 }, 'file'],
    [{ file: ':memory:' }, 'file'],
    [{ file: 'file:a.db?mode=memory' }, 'file'],
    [{ file: 'a\0b' }, 'file'],
    [{ open: 'a.db' }, 'open'],
    [{ file: 'a.db', table: 'records"; DROP TABLE x' }, 'table'],
    [{ file: 'a.db', table: '1st' }, 'table'],
    [{ file: 'a.db', table: 'sqlite_records' }, 'table'],
    [{ file: 'a.db', table: 'x'.repeat(49) }, 'table'],
    [{ file: 'a.db', busyMsMax: '5 seconds' }, 'busyMsMax'],
    [{ file: 'a.db', busyMsMax: 0 }, 'busyMsMax'],
  ])('%o is refused at construction', (options, option) => {
    expect(() => sqliteStore(options as never)).toThrow(
      expect.objectContaining({ code: 'option-invalid', option }),
    )
  })

  test('a driver that opens memory, or one connection again and again, is refused', async () => {
    await expect(open({ open: () => new DatabaseSync(':memory:') }).ready()).rejects.toMatchObject({
      code: 'option-invalid',
    })
    const db = new DatabaseSync(file)
    const store = open({ open: () => db })
    await store.ready()
    const work = store.transaction(async () => ({ kind: 'commit', value: 1 }))
    await expect(work).rejects.toMatchObject({ code: 'option-invalid' })
  })

  test('tables of several stores share a file', async () => {
    const claim = newClaim()
    const [one, two] = [open({ table: 'one' }), open({ table: 'two' })]
    expect((await one.claim([claim])).replies).toEqual([{ kind: 'claimed' }])
    expect((await two.claim([claim])).replies).toEqual([{ kind: 'claimed' }])
  })
})

describe('a path that is no store', () => {
  const permanent = { code: 'store-failed', failure: 'permanent' }

  test('a directory, a missing folder', async () => {
    await expect(open({ file: folder }).ready()).rejects.toMatchObject(permanent)
    const missing = join(folder, 'missing', 'records.db')
    await expect(open({ file: missing }).claim([newClaim()])).rejects.toMatchObject(permanent)
  })

  test('a FIFO, without waiting for its other end', async ({ skip }) => {
    skip(process.platform === 'win32', 'Windows has no FIFOs in folders')
    execFileSync('mkfifo', [file])
    await expect(open().ready()).rejects.toMatchObject(permanent)
  })

  test('a file that is no database, or a damaged one', async () => {
    writeFileSync(file, 'This is the shopping list of somebody else. '.repeat(200))
    await expect(open().ready()).rejects.toMatchObject(permanent)
    await expect(open().transaction(async () => ({ kind: 'commit', value: 1 }))).rejects.toMatchObject(
      permanent,
    )
  })

  test('a connection that may only read', async () => {
    await open().ready()
    const store = open({ open: () => new DatabaseSync(file, { readOnly: true }) })
    await expect(store.ready()).rejects.toMatchObject(permanent)
  })

  test('a file or folder without the right to write', async ({ skip }) => {
    skip(process.platform === 'win32', 'Windows has no modes of files')
    await asPlainUser(async () => {
      const locked = join(folder, 'locked')
      mkdirSync(locked, { mode: 0o500 })
      await expect(open({ file: join(locked, 'records.db') }).ready()).rejects.toMatchObject(permanent)
      execute('CREATE TABLE t (x)')
      chmodSync(file, 0o400)
      await expect(open().ready()).rejects.toMatchObject(permanent)
    })
  })

  test('is opened by a later verb once it is mended', async () => {
    const later = join(folder, 'later')
    const store = open({ file: join(later, 'records.db') })
    await expect(store.claim([newClaim()])).rejects.toMatchObject(permanent)
    mkdirSync(later)
    expect((await store.claim([newClaim()])).replies).toEqual([{ kind: 'claimed' }])
  })
})

describe('a file that goes away under an open store', () => {
  test.each(['', '-wal'])('is noticed and not written to any more (%o)', async (suffix) => {
    const store = open()
    await store.claim([newClaim()])
    renameSync(`${file}${suffix}`, join(folder, 'moved'))
    await eventually(() =>
      expect(store.claim([newClaim()])).rejects.toMatchObject({
        code: 'store-failed',
        failure: 'permanent',
      }),
    )
    await expect(store.read([newId()])).rejects.toMatchObject({ failure: 'permanent' })
    await expect(store.transaction(async () => ({ kind: 'commit', value: undefined }))).rejects.toMatchObject(
      { failure: 'permanent' },
    )
  })
})

describe('the schema', () => {
  test('of a newer version is refused, with both versions and what to do', async () => {
    await open().ready()
    execute('UPDATE retrysafe_schema SET version = 99')
    const store = open()
    await expect(store.claim([newClaim()])).rejects.toMatchObject({
      code: 'schema-mismatch',
      message: expect.stringMatching(/version 99.*versions up to 1.*Start a release that knows version 99/s),
    })
  })

  test('leaves what is the user’s alone', async () => {
    execute('PRAGMA user_version = 41; CREATE TABLE orders (text TEXT); PRAGMA application_id = 7')
    await open().ready()
    const db = new DatabaseSync(file)
    expect(db.prepare('PRAGMA user_version').get()).toEqual({ user_version: 41 })
    expect(db.prepare('PRAGMA application_id').get()).toEqual({ application_id: 7 })
    expect(db.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' })
    db.close()
  })

  test('is looked at and made once the file is free, by whoever waits for it', async () => {
    const other = new DatabaseSync(file)
    const steps = sqliteMigrations({ file })
    // Not even a reader gets in, as while somebody else commits or changes the journal mode.
    other.exec('BEGIN EXCLUSIVE')
    const waiting = [steps.status(), steps.pending(), steps.apply(), steps.apply()] as const
    other.exec('COMMIT')
    other.close()
    await Promise.all(waiting)
    expect(await steps.status()).toEqual({ version: 1, latest: 1 })
  })

  test('is strict, so that no text is made a number', async () => {
    await open().ready()
    const db = new DatabaseSync(file)
    expect(
      db.prepare("SELECT name FROM pragma_table_list WHERE strict = 1 AND name LIKE 'retrysafe%'").all(),
    ).toEqual(expect.arrayContaining([{ name: 'retrysafe_records' }, { name: 'retrysafe_schema' }]))
    db.close()
  })
})

describe('a damaged row', () => {
  const damages = [
    'phase = 9',
    'fence = 0',
    'fence = 9223372036854775807',
    'outcome = NULL',
    'settled_at = NULL',
    'live_until = 9223372036854775807',
  ]

  test.each(damages)('(%s) fails its item alone, and is never treated as absent', async (damage) => {
    const store = open()
    const [damaged, sound] = [newClaim(), newClaim()]
    await store.claim([damaged, sound])
    await store.settle([completion(damaged), completion(sound)])
    execute(`UPDATE retrysafe_records SET ${damage} WHERE token = '${damaged.token}'`)
    const claim = newClaim({ id: damaged.id })

    const { replies } = await store.claim([claim, newClaim({ id: sound.id }), newClaim()])
    expect(replies.map(({ kind }) => kind)).toEqual(['failed', 'found', 'claimed'])
    expect(replies[0]).toMatchObject({ error: { code: 'store-failed', failure: 'permanent' } })
    expect((await store.claim([claim])).replies[0]?.kind).toBe('failed')
    await expect(store.read([damaged.id])).rejects.toMatchObject({ failure: 'permanent' })
    expect((await store.settle([completion(damaged)])).replies[0]?.kind).toBe('failed')
    expect((await store.list({ limit: 10 })).records.map(({ id }) => id)).not.toContain(damaged.id)
    await store.sweep(10)
    expect((await store.claim([claim])).replies[0]?.kind).toBe('failed')
  })

  test('of an unknown phase is neither superseded nor swept', async () => {
    let now = 1_000
    const store = open({ clock: { now: () => now } })
    const damaged = newClaim({ leaseMs: 1, retentionMs: 1 })
    await store.claim([damaged])
    execute('UPDATE retrysafe_records SET phase = 9')
    now += 10_000
    const takeover = {
      seenToken: damaged.token,
      seenPhase: 'running',
      claim: newClaim({ id: damaged.id }),
    } as const
    expect((await store.supersede([takeover])).replies[0]?.kind).toBe('failed')
    expect(await store.sweep(10)).toEqual({ removed: 0, entombed: 0, more: false })
    expect((await store.claim([takeover.claim])).replies[0]?.kind).toBe('failed')
  })

  test('an id that is none fails its item', async () => {
    const ids = ['', 'x', `${'A'.repeat(21)}B`, "'; DROP TABLE retrysafe_records; --".padEnd(22, '-')]
    const claims = ids.map((id) => newClaim({ id: id as RecordId }))
    const { replies } = await open().claim([...claims, newClaim()])
    expect(replies.map(({ kind }) => kind)).toEqual([...ids.map(() => 'failed'), 'claimed'])
  })
})

describe('verbs and transactions', () => {
  test('verbs wait behind an open transaction while the event loop goes on; reads and finds do not', async () => {
    const store = open()
    const known = newClaim()
    await store.claim([known])
    const order: string[] = []
    let proceed = (): void => {}
    const gate = new Promise<void>((resolve) => (proceed = resolve))
    const transaction = store.transaction(async (_tx, records) => {
      await records.claim([newClaim()])
      await gate
      order.push('transaction')
      return { kind: 'commit', value: undefined }
    })
    const waiting = store.claim([newClaim()]).then(() => order.push('claim'))
    const next = store
      .transaction(async () => ({ kind: 'commit', value: undefined }))
      .then(() => order.push('next transaction'))
    expect((await store.claim([newClaim({ id: known.id })])).replies[0]?.kind).toBe('found')
    expect((await store.read([known.id])).replies[0]?.token).toBe(known.token)
    expect(order).toEqual([])
    proceed()
    await Promise.all([transaction, waiting, next])
    expect(order[0]).toBe('transaction')
    expect(order.length).toBe(3)
  })

  test('a verb or transaction that waits too long for its own process is transient, and did nothing', async () => {
    const store = open({ busyMsMax: 60 })
    let proceed = (): void => {}
    const gate = new Promise<void>((resolve) => (proceed = resolve))
    const late = newClaim()
    const transaction = store.transaction(async () => {
      await expect(store.claim([late])).rejects.toMatchObject({ code: 'store-failed', failure: 'transient' })
      await expect(
        store.transaction(async () => ({ kind: 'commit', value: undefined })),
      ).rejects.toMatchObject({ failure: 'transient' })
      await gate
      return { kind: 'commit', value: undefined }
    })
    proceed()
    expect((await transaction).kind).toBe('committed')
    expect((await store.read([late.id])).replies).toEqual([undefined])
    expect((await store.claim([late])).replies).toEqual([{ kind: 'claimed' }])
  })

  test.each(['COMMIT', 'ROLLBACK'])(
    'a handler that sends %s itself is told, and nothing says success',
    async (sql) => {
      const store = open()
      const claim = newClaim()
      const call = store.transaction(async (tx, records) => {
        await records.claim([claim])
        tx.exec(sql)
        return { kind: 'commit', value: 'done' }
      })
      await expect(call).rejects.toMatchObject({
        code: 'outcome-unknown',
        cause: { message: expect.stringContaining('ended the transaction itself') },
      })
      const inside = store.transaction(async (tx, records) => {
        tx.exec(sql)
        await records.claim([newClaim()])
        return { kind: 'commit', value: 'done' }
      })
      await expect(inside).rejects.toMatchObject({ code: 'outcome-unknown' })
      expect((await store.claim([newClaim()])).replies).toEqual([{ kind: 'claimed' }])
    },
  )

  test('a commit that is refused is rolled back and named', async () => {
    const store = open()
    await store.ready()
    execute(`
      CREATE TABLE parents (id INTEGER PRIMARY KEY);
      CREATE TABLE children (parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)
    `)
    const claim = newClaim()
    const call = store.transaction(async (tx, records) => {
      await records.claim([claim])
      tx.prepare('INSERT INTO children (parent) VALUES (?)').run(7)
      await records.settle([completion(claim)])
      return { kind: 'commit', value: 'done' }
    })
    await expect(call).rejects.toMatchObject({ code: 'store-failed', failure: 'permanent' })
    expect((await store.read([claim.id])).replies).toEqual([undefined])
    expect((await store.claim([claim])).replies).toEqual([{ kind: 'claimed' }])
  })

  test('joining a connection without a transaction is refused', async () => {
    const store = open()
    await store.ready()
    const db = new DatabaseSync(file)
    await expect(store.join(db).claim([newClaim()])).rejects.toMatchObject({
      code: 'option-invalid',
      option: 'tx',
    })
    db.close()
  })

  test('joined verbs on a locked file are transient, and read integers whatever the connection is set to', async () => {
    const store = open()
    const known = newClaim()
    await store.claim([known])
    const holder = new DatabaseSync(file)
    const joined = new DatabaseSync(file, { readBigInts: true, returnArrays: true, timeout: 0 })
    holder.exec('BEGIN IMMEDIATE')
    joined.exec('BEGIN')
    const records = store.join(joined)
    expect((await records.read([known.id])).replies[0]).toMatchObject({ fence: 1, token: known.token })
    await expect(records.claim([newClaim()])).rejects.toMatchObject({
      code: 'store-failed',
      failure: 'transient',
    })
    holder.close()
    joined.close()
  })

  test('close waits for an open transaction, and closes every connection', async () => {
    const opened: SqliteDatabase[] = []
    const store = open({
      open: () => {
        const db = new DatabaseSync(file)
        opened.push(db)
        return db
      },
    })
    const claim = newClaim()
    let closing: Promise<void> | undefined
    const transaction = store.transaction(async (_tx, records) => {
      closing = store.close()
      await records.claim([claim])
      return { kind: 'commit', value: undefined }
    })
    expect((await transaction).kind).toBe('committed')
    await closing
    expect(opened.length).toBe(2)
    for (const db of opened) expect(() => db.exec('SELECT 1')).toThrow(/not open/)
    expect((await open().read([claim.id])).replies[0]?.phase).toBe('running')
  })

  test('a list does not read outcomes that would make its page too large', async () => {
    const store = open()
    const claims = [newClaim(), newClaim(), newClaim()]
    await store.claim(claims)
    const outcome = Buffer.alloc(7 * 1024 * 1024)
    await store.settle(claims.map((claim) => completion(claim, { outcome })))
    const first = await store.list({ limit: 10 })
    expect(first.records.length).toBe(2)
    const second = await store.list({ limit: 10, after: first.next as string })
    expect([second.records.length, second.next]).toEqual([1, undefined])
  })

  test('a sweep comes through a large table in slices, and past rows it must leave', async () => {
    let now = 1_000
    const store = open({ clock: { now: () => now } })
    const kept = newClaim()
    await store.claim([kept])
    const copies = (count: number, leaseUntil: number): void =>
      execute(`
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count})
        INSERT INTO retrysafe_records
          (id, phase, fingerprint, token, fence, operation, principal_tag, created_at, live_until, kept_until)
        SELECT randomblob(32), phase, fingerprint, token, fence, operation, principal_tag, created_at,
               ${leaseUntil}, ${leaseUntil} FROM retrysafe_records, n WHERE id = unhex('${hexOf(kept.id)}')
      `)
    copies(21_000, 1_000_000)
    copies(30, 2_000)
    now = 5_000
    let removed = 0
    let sweeps = 0
    for (let more = true; more; sweeps++) {
      expect(sweeps).toBeLessThan(10)
      const swept = await store.sweep(20)
      removed += swept.removed
      more = swept.more
    }
    expect([removed, sweeps > 2]).toEqual([30, true])
    now = 1_000_000
    expect(await store.sweep(20)).toEqual({ removed: 20, entombed: 0, more: true })
    expect((await store.read([kept.id])).replies[0]?.token).toBe(kept.token)
  })

  test('verbs of one turn share one commit', async () => {
    let commits = 0
    const store = open({
      open: () => {
        const db = new DatabaseSync(file)
        return {
          prepare: (sql: string) => db.prepare(sql),
          exec(sql: string): void {
            if (sql === 'COMMIT') commits += 1
            db.exec(sql)
          },
          close: () => db.close(),
          get isTransaction() {
            return db.isTransaction
          },
        }
      },
    })
    const running = Array.from({ length: 5 }, () => newClaim())
    await store.claim(running)
    commits = 0
    await Promise.all([
      ...running.map((claim) => store.settle([completion(claim)])),
      ...Array.from({ length: 5 }, () =>
        store.supersede([{ seenToken: 'x', seenPhase: 'running', claim: newClaim() }]),
      ),
      store.renew([{ id: newId(), token: 'x', leaseMs: 1 }]),
    ])
    expect(commits).toBe(1)
  })
})
