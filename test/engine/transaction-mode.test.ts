import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { OutcomeUnknownError, StoreError } from '../../src/core/errors.ts'
import { valueFingerprint } from '../../src/core/fingerprint.ts'
import { type Fingerprint, removableFrom } from '../../src/core/record.ts'
import type { TransactionalStore, TransactionEnd } from '../../src/core/store.ts'
import { createIdempotency, type Idempotency } from '../../src/engine/idempotency.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { type SqliteTx, sqliteStore } from '../../src/stores/sqlite.ts'

let folder: string
let db: DatabaseSync
let store: TransactionalStore<SqliteTx>
let idem: Idempotency<SqliteTx>

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'retrysafe-transaction-'))
  const file = join(folder, 'shop.db')
  store = sqliteStore({ file })
  idem = createIdempotency({ store, sweep: false })
  db = new DatabaseSync(file)
  db.exec('PRAGMA journal_mode = WAL; CREATE TABLE orders (sku TEXT NOT NULL) STRICT')
})

afterEach(async () => {
  db.close()
  await idem.close()
  rmSync(folder, { recursive: true })
})

interface Order {
  readonly sku: string
}

const call = { key: 'k1', principal: 'alice', input: { sku: 'A1' } }

function fingerprintOfCall(): Fingerprint {
  const made = valueFingerprint(idem.digest, 'order', call.input)
  if (made.kind === 'unsupported') throw new Error('unsupported')
  return made.fingerprint
}

function place(tx: SqliteTx, { sku }: Order): { sku: string } {
  tx.prepare('INSERT INTO orders (sku) VALUES (?)').run(sku)
  return { sku }
}

function orders(): string[] {
  return db
    .prepare('SELECT sku FROM orders')
    .all()
    .map((row) => String(row['sku']))
}

describe('transaction', () => {
  test('effect and record commit together, and duplicates replay', async () => {
    const order = idem.transaction('order', (input: Order, { tx }) => place(tx, input))
    expect(await order.run(call)).toEqual({ value: { sku: 'A1' }, replayed: false })
    expect(await order.run(call)).toEqual({ value: { sku: 'A1' }, replayed: true })
    expect(orders()).toEqual(['A1'])
  })

  test('an async handler sees its own writes; others see them after the commit', async () => {
    const seen: string[][] = []
    const order = idem.transaction('order', async (input: Order, { tx }) => {
      const placed = place(tx, input)
      await new Promise((resolve) => setImmediate(resolve))
      seen.push(orders())
      return placed
    })
    await order.run(call)
    expect(seen).toEqual([[]])
    expect(orders()).toEqual(['A1'])
  })

  test('a handler that throws leaves neither effect nor record', async () => {
    let runs = 0
    const order = idem.transaction('order', (input: Order, { tx }) => {
      place(tx, input)
      if (++runs === 1) throw new Error('no stock')
      return 'placed'
    })
    await expect(order.run(call)).rejects.toThrow('no stock')
    expect(orders()).toEqual([])
    expect(await order.run(call)).toEqual({ value: 'placed', replayed: false })
    expect(orders()).toEqual(['A1'])
  })

  test('50 duplicates at once: one effect, one answer', async () => {
    const order = idem.transaction('order', async (input: Order, { tx }) => {
      await new Promise((resolve) => setImmediate(resolve))
      return place(tx, input)
    })
    const results = await Promise.all(Array.from({ length: 50 }, () => order.run(call)))
    expect(results.filter((result) => !result.replayed)).toHaveLength(1)
    expect(orders()).toEqual(['A1'])
  })

  test('many keys at once take turns and all commit', async () => {
    const order = idem.transaction('order', async (input: Order, { tx }) => {
      await new Promise((resolve) => setImmediate(resolve))
      return place(tx, input)
    })
    const lease = idem.operation('mail', () => 'sent')
    const keys = Array.from({ length: 20 }, (_, at) => `k${at}`)
    await Promise.all(keys.flatMap((key) => [order.run({ ...call, key }), lease.run({ ...call, key })]))
    expect(orders()).toHaveLength(20)
  })

  test('another input under the key is refused', async () => {
    const order = idem.transaction('order', (input: Order, { tx }) => place(tx, input))
    await order.run(call)
    expect(await order.attempt({ ...call, input: { sku: 'B2' } })).toEqual({ kind: 'mismatch' })
    expect(orders()).toEqual(['A1'])
  })

  test('a value that cannot be stored undoes the effect', async () => {
    const order = idem.transaction('order', (input: Order, { tx }) => {
      place(tx, input)
      return () => input
    })
    await expect(order.run(call)).rejects.toMatchObject({ code: 'outcome-unstorable' })
    expect(orders()).toEqual([])
  })

  test('a store without transactions is refused at construction', () => {
    const plain = createIdempotency({ store: memoryStore(), sweep: false })
    expect(() => plain.transaction('order', () => 1)).toThrow(/store joins no transaction/)
  })
})

describe('a commit that is refused, as by a store without locks,', () => {
  /** The next transaction of `idem` is undone at its end, because `rival` was first. */
  function refuseNext(rival: () => Promise<unknown>): void {
    const { transaction } = store
    store.transaction = async (work) => {
      store.transaction = transaction
      await transaction.call(store, async (tx, records) => {
        const verdict = await work(tx as SqliteTx, records)
        return { kind: 'roll-back', value: verdict.value }
      })
      await rival()
      return { kind: 'refused' }
    }
  }

  const other = (handler: (input: Order) => Promise<unknown>, input: Order = call.input): Promise<unknown> =>
    createIdempotency({ store, sweep: false })
      .operation('order', handler)
      .attempt({ ...call, input })

  test.each([
    [
      'a replay of the winner',
      async (): Promise<unknown> => ({ sku: 'winner' }),
      call.input,
      { kind: 'replayed', value: { sku: 'winner' } },
    ],
    ['a mismatch with the winner', async (): Promise<unknown> => 1, { sku: 'B2' }, { kind: 'mismatch' }],
  ] as const)('ends as %s', async (_, handler, input, expected) => {
    let runs = 0
    const order = idem.transaction('order', (given: Order, { tx }) => {
      runs += 1
      return place(tx, given)
    })
    refuseNext(() => other(handler, input))
    expect(await order.attempt(call)).toEqual(expected)
    expect([runs, orders()]).toEqual([1, []])
  })

  test('is in progress while the winner runs, and lets go of those who waited for it', async () => {
    const over = Promise.withResolvers<void>()
    const started = Promise.withResolvers<void>()
    const begun = Promise.withResolvers<void>()
    let winning: Promise<unknown> | undefined
    const order = idem.transaction('order', { wait: 0 }, (input: Order, { tx }) => {
      begun.resolve()
      return place(tx, input)
    })
    refuseNext(async () => {
      winning = other(async () => {
        started.resolve()
        await over.promise
        return { sku: 'winner' }
      })
      await started.promise
    })
    const first = order.attempt(call)
    await begun.promise
    const patient = idem.transaction<Order, Order>('order', { wait: '15s' }, async () => ({ sku: 'again' }))
    const second = patient.attempt(call)
    expect(await first).toMatchObject({ kind: 'in-progress' })
    over.resolve()
    await winning
    expect(await second).toEqual({ kind: 'replayed', value: { sku: 'winner' } })
  })

  test('is not applied when the key is free after all, and the handler is not run again', async () => {
    let runs = 0
    const order = idem.transaction('order', (input: Order, { tx }) => {
      runs += 1
      return place(tx, input)
    })
    refuseNext(async () => undefined)
    await expect(order.run(call)).rejects.toMatchObject({ code: 'not-applied' })
    expect([runs, orders()]).toEqual([1, []])
    expect(await order.run(call)).toEqual({ value: { sku: 'A1' }, replayed: false })
  })
})

describe('a commit without an answer', () => {
  /**
   * The store as seen through a connection that breaks at COMMIT, `applied` or not. `meanwhile` happens before the
   * next transaction is opened, in which the commit is looked into.
   */
  function breakCommit(applied: boolean, meanwhile?: () => Promise<unknown>): void {
    const { transaction } = store
    store.transaction = async (work) => {
      store.transaction = transaction
      if (meanwhile !== undefined) {
        store.transaction = async (...next) => {
          store.transaction = transaction
          await meanwhile()
          return (await transaction.call(store, ...(next as [never, never]))) as never
        }
      }
      const error = new StoreError('lost', 'the connection broke at COMMIT')
      if (applied) {
        const end = await transaction.call(store, work)
        return { kind: 'unknown', value: valueOf(end) as never, error }
      }
      const end = await transaction.call(store, async (tx, records) => {
        const verdict = await work(tx as SqliteTx, records)
        return { kind: 'roll-back', value: verdict.value }
      })
      return { kind: 'unknown', value: valueOf(end) as never, error }
    }
  }

  function valueOf(end: TransactionEnd<unknown>): unknown {
    return end.kind === 'refused' ? undefined : end.value
  }

  test('that had been applied ends as success, once', async () => {
    breakCommit(true)
    const order = idem.transaction('order', (input: Order, { tx }) => place(tx, input))
    expect(await order.run(call)).toEqual({ value: { sku: 'A1' }, replayed: false })
    expect(await order.run(call)).toEqual({ value: { sku: 'A1' }, replayed: true })
    expect(orders()).toEqual(['A1'])
  })

  test('that had not been applied is reported as such, and the key may be sent again', async () => {
    breakCommit(false)
    const order = idem.transaction('order', (input: Order, { tx }) => place(tx, input))
    await expect(order.run(call)).rejects.toMatchObject({ code: 'not-applied' })
    expect(orders()).toEqual([])
    expect(await order.run(call)).toEqual({ value: { sku: 'A1' }, replayed: false })
    expect(orders()).toEqual(['A1'])
  })

  test.each([true, false])('over a released record, applied: %s', async (applied) => {
    await idem
      .operation('order', () => {
        throw new Error('released')
      })
      .run(call)
      .catch(() => {})
    breakCommit(applied)
    const order = idem.transaction('order', (input: Order, { tx }) => place(tx, input))
    const result = await order.run(call).catch((error: unknown) => error)
    expect(result).toMatchObject(applied ? { replayed: false } : { code: 'not-applied' })
    expect(await order.run(call)).toMatchObject({ replayed: applied })
    expect(orders()).toEqual(['A1'])
  })

  test('leaves alone what another process has completed meanwhile', async () => {
    const other = createIdempotency({ store: sqliteStore({ file: join(folder, 'shop.db') }), sweep: false })
    const theirs = other.transaction('order', (input: Order, { tx }) => ({ ...place(tx, input), by: 'them' }))
    breakCommit(false, () => theirs.run(call))
    const order = idem.transaction('order', (input: Order, { tx }) => place(tx, input))
    await expect(order.run(call)).rejects.toMatchObject({ code: 'not-applied' })
    expect(await order.run(call)).toEqual({ value: { sku: 'A1', by: 'them' }, replayed: true })
    expect(orders()).toEqual(['A1'])
    await other.close()
  })

  test('leaves nothing running behind, also where the answer to looking into it is lost', async () => {
    breakCommit(false)
    const commitBreaks = store.transaction
    store.transaction = async (...given) => {
      const end = await commitBreaks.call(store, ...(given as [never]))
      const { transaction } = store
      store.transaction = async (...next) => {
        store.transaction = transaction
        await transaction.call(store, ...(next as [never, never]))
        throw new StoreError('lost', 'no answer')
      }
      return end as never
    }
    const order = idem.transaction('order', { wait: 0 }, (input: Order, { tx }) => place(tx, input))
    await expect(order.run(call)).rejects.toMatchObject({ code: 'not-applied' })
    const { records } = await store.list({ limit: 10 })
    expect(records.filter(({ phase }) => phase === 'running')).toEqual([])
    expect(await order.run(call)).toEqual({ value: { sku: 'A1' }, replayed: false })
  })

  test('of a statement whose key was completed before replays', async () => {
    const order = idem.transaction('order', (input: Order, { tx }) => place(tx, input))
    const { value } = await order.run(call)
    store.once = async () => ({ kind: 'unknown', error: new StoreError('lost', 'no answer') })
    const again = idem.statement('order', 'INSERT INTO orders (sku) VALUES (?)', ({ sku }: Order) => [sku])
    expect(await again.run(call)).toEqual({ value, replayed: true })
    expect(await again.run({ ...call, key: 'k2' })).toMatchObject({ replayed: false })
    expect(orders()).toEqual(['A1', 'A1'])
  })

  test('does not forget that an earlier outcome is unknown', async () => {
    const asked: string[] = []
    const lost = idem.operation('order', { onUnknown: 'hold' }, () => {
      throw new OutcomeUnknownError(false)
    })
    const begun = await idem.begin({
      key: call.key,
      principal: call.principal,
      scope: 'order',
      operation: 'order',
      fingerprint: fingerprintOfCall(),
      policy: idem.policy({}),
    })
    if (begun.kind !== 'run') throw new Error(begun.kind)
    await begun.attempt.unknown()
    expect(await lost.attempt(call)).toEqual({ kind: 'unknown' })
    breakCommit(false)
    const order = idem.transaction(
      'order',
      {
        onUnknown: 'reconcile',
        reconcile: async () => {
          asked.push('asked')
          return { kind: 'not-applied' }
        },
      },
      (input: Order, { tx }) => place(tx, input),
    )
    await expect(order.run(call)).rejects.toMatchObject({ code: 'not-applied' })
    expect(await lost.attempt(call)).toEqual({ kind: 'unknown' })
    expect(await order.run(call)).toEqual({ value: { sku: 'A1' }, replayed: false })
    expect([asked, orders()]).toEqual([['asked', 'asked'], ['A1']])
  })

  test('over an unknown outcome that is past its retention leaves the key free', async () => {
    const begun = await idem.begin({
      key: call.key,
      principal: call.principal,
      scope: 'order',
      operation: 'order',
      fingerprint: fingerprintOfCall(),
      policy: idem.policy({ retention: 1 }),
    })
    if (begun.kind !== 'run') throw new Error(begun.kind)
    await begun.attempt.unknown()
    const isOver = async (): Promise<boolean> => {
      const { now, replies } = await store.read([begun.attempt.id])
      return replies[0] === undefined || now >= removableFrom(replies[0])
    }
    await expect.poll(isOver).toBe(true)
    breakCommit(false)
    const order = idem.transaction('order', { onUnknown: 'hold' }, (input: Order, { tx }) => place(tx, input))
    await expect(order.run(call)).rejects.toMatchObject({ code: 'not-applied' })
    expect(await order.run(call)).toEqual({ value: { sku: 'A1' }, replayed: false })
    expect(orders()).toEqual(['A1'])
  })

  test('with the store away is unknown, and the same key finds the truth later', async () => {
    breakCommit(true, () => Promise.reject(new StoreError('permanent', 'away')))
    const order = idem.transaction('order', (input: Order, { tx }) => place(tx, input))
    await expect(order.run(call)).rejects.toMatchObject({ code: 'outcome-unknown', settled: false })
    expect(await order.run(call)).toEqual({ value: { sku: 'A1' }, replayed: true })
    expect(orders()).toEqual(['A1'])
  })
})

describe('within the caller’s own transaction', () => {
  const given = { ...call, operation: 'order' }

  async function inTransaction<Value>(work: () => Promise<Value>): Promise<Value> {
    db.exec('BEGIN IMMEDIATE')
    try {
      const value = await work()
      db.exec('COMMIT')
      return value
    } catch (error) {
      db.exec('ROLLBACK')
      throw error
    }
  }

  beforeEach(async () => {
    await store.read([])
  })

  test('runs once and replays', async () => {
    const run = () => inTransaction(() => idem.within(db, given, () => place(db, call.input)))
    expect(await run()).toEqual({ value: { sku: 'A1' }, replayed: false })
    expect(await run()).toEqual({ value: { sku: 'A1' }, replayed: true })
    expect(orders()).toEqual(['A1'])
  })

  test('a rollback takes the record away with the effect', async () => {
    const failing = inTransaction(async () => {
      await idem.within(db, given, () => place(db, call.input))
      throw new Error('later step failed')
    })
    await expect(failing).rejects.toThrow('later step failed')
    expect(orders()).toEqual([])
    const again = await inTransaction(() => idem.within(db, given, () => place(db, call.input)))
    expect(again.replayed).toBe(false)
  })

  test('another holder in lease mode is in progress, at once', async () => {
    const { promise, resolve } = Promise.withResolvers<number>()
    const claimed = Promise.withResolvers<void>()
    const running = idem
      .operation('order', () => {
        claimed.resolve()
        return promise
      })
      .run(call)
    await claimed.promise
    const work = inTransaction(() => idem.within(db, given, () => place(db, call.input)))
    await expect(work).rejects.toMatchObject({ code: 'in-progress' })
    resolve(1)
    await running
  })

  test('an unknown option is refused by name', async () => {
    const typo = { ...given, retenton: '1h' } as never
    await expect(idem.within(db, typo, () => 1)).rejects.toThrow(/retenton.*Did you mean retention/)
  })
})
