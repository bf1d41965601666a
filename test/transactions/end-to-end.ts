/** A store and an ORM in one transaction: `within` and `transaction`, against the real database. */
import mysql from 'mysql2/promise'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import {
  InProgressError,
  KeyReusedError,
  NotAppliedError,
  RetryTransactionError,
} from '../../src/core/errors.ts'
import { createIdempotency, type Idempotency } from '../../src/engine/idempotency.ts'
import type { Operation } from '../../src/engine/operation.ts'
import { mysqlStore } from '../../src/stores/mysql.ts'
import { postgresStore } from '../../src/stores/postgres.ts'
import type { Dialect, Outside, Subject } from './subject.ts'

interface Setting<Tx> {
  readonly subject: Subject<Tx>
  readonly url: string
  readonly outside: Outside
}

interface Order {
  readonly customer: string
}

/** `setting` is called once the database and the ORM are there. */
export function commitsOnce<Tx>(dialect: Dialect, setting: () => Setting<Tx>): void {
  let idem: Idempotency<Tx>
  let close: () => Promise<void>
  let subject: Subject<Tx>
  let outside: Outside
  let lastKey = 0
  let key: string

  beforeAll(() => {
    const given = setting()
    ;({ subject, outside } = given)
    ;({ idem, close } = openStore(dialect, given))
  })
  afterAll(() => close?.())
  beforeEach(() => {
    key = `key-${++lastKey}`
  })

  const customers = async (): Promise<unknown[]> =>
    (await outside('SELECT customer FROM orders ORDER BY id')).map((row) => row['customer'])
  const orderWithin = (tx: Tx, customer: string) =>
    idem.within(
      subject.opener.join(tx),
      { operation: 'order', key, principal: 'p', input: { customer } },
      () => subject.insertOrder(tx, customer),
    )

  it('within: applied once, then replayed', async () => {
    const first = await subject.opener.transaction((tx) => orderWithin(tx, 'ada'))
    const again = await subject.opener.transaction((tx) => orderWithin(tx, 'ada'))
    expect(first).toEqual({ value: expect.any(Number), replayed: false })
    expect(again).toEqual({ value: first.value, replayed: true })
    expect(await customers()).toEqual(['ada'])
  })

  it('within takes the transaction of the ORM as it is', async () => {
    const call = { operation: 'order', key, principal: 'p', input: {} }
    const run = (tx: Tx) => idem.within(tx, call, () => subject.insertOrder(tx, 'ada'))
    await subject.opener.transaction(run)
    expect(await subject.opener.transaction(run)).toMatchObject({ replayed: true })
    expect(await customers()).toEqual(['ada'])
  })

  it('within: a rollback leaves neither effect nor record', async () => {
    const undone = subject.opener.transaction(async (tx) => {
      await orderWithin(tx, 'ada')
      throw new Error('changed my mind')
    })
    await expect(undone).rejects.toThrow('changed my mind')
    expect(await customers()).toEqual([])
    const next = await subject.opener.transaction((tx) => orderWithin(tx, 'ada'))
    expect(next.replayed).toBe(false)
    expect(await customers()).toEqual(['ada'])
  })

  it('within: another input under the key is refused', async () => {
    await subject.opener.transaction((tx) => orderWithin(tx, 'ada'))
    const other = subject.opener.transaction((tx) => orderWithin(tx, 'bob'))
    await expect(other).rejects.toThrow(KeyReusedError)
    expect(await customers()).toEqual(['ada'])
  })

  it('within: a key that another transaction holds is in progress', async () => {
    await subject.opener.transaction(async (tx) => {
      await orderWithin(tx, 'ada')
      const second = subject.opener.transaction((other) => orderWithin(other, 'ada'))
      await expect(second).rejects.toThrow(InProgressError)
    })
    expect(await customers()).toEqual(['ada'])
  })

  it('within a savepoint of the ORM: undone with it', async () => {
    const { savepoint } = subject
    if (savepoint === undefined) return
    await subject.opener.transaction(async (tx) => {
      const undone = savepoint(tx, async (inner) => {
        await orderWithin(inner, 'ada')
        throw new Error('undo')
      })
      await expect(undone).rejects.toThrow('undo')
      expect((await orderWithin(tx, 'ada')).replayed).toBe(false)
    })
    expect(await customers()).toEqual(['ada'])
  })

  it('within: a conflict that the database reports asks for the whole transaction again', async () => {
    const failed = subject.opener.transaction((tx) =>
      idem.within(
        subject.opener.join(tx),
        { operation: 'order', key, principal: 'p', input: {} },
        async () => {
          await subject.opener.join(tx).query('SELECT conflict()', [])
        },
      ),
    )
    await expect(failed).rejects.toThrow(RetryTransactionError)
  })

  const operation = (work: (tx: Tx, input: Order) => Promise<number>): Operation<Order, number> =>
    idem.transaction('order', (input: Order, { tx }) => work(tx, input))

  it('transaction: applied once, then replayed', async () => {
    const order = operation((tx, { customer }) => subject.insertOrder(tx, customer))
    const call = { key, principal: 'p', input: { customer: 'ada' } }
    const first = await order.run(call)
    expect(first).toEqual({ value: expect.any(Number), replayed: false })
    expect(await order.run(call)).toEqual({ value: first.value, replayed: true })
    expect(await customers()).toEqual(['ada'])
  })

  it('transaction: applied once for calls at the same time', async () => {
    const order = operation((tx, { customer }) => subject.insertOrder(tx, customer))
    const call = { key, principal: 'p', input: { customer: 'ada' } }
    const results = await Promise.all([order.run(call), order.run(call), order.run(call)])
    expect(results.filter(({ replayed }) => !replayed)).toHaveLength(1)
    expect(new Set(results.map(({ value }) => value)).size).toBe(1)
    expect(await customers()).toEqual(['ada'])
  })

  it('transaction: a handler that throws leaves neither effect nor record', async () => {
    const error = new Error('no stock')
    let fails = true
    const order = operation(async (tx, { customer }) => {
      const id = await subject.insertOrder(tx, customer)
      if (fails) throw error
      return id
    })
    const call = { key, principal: 'p', input: { customer: 'ada' } }
    await expect(order.run(call)).rejects.toBe(error)
    expect(await customers()).toEqual([])
    fails = false
    expect((await order.run(call)).replayed).toBe(false)
    expect(await customers()).toEqual(['ada'])
  })

  it('transaction: another input under the key is refused', async () => {
    const order = operation((tx, { customer }) => subject.insertOrder(tx, customer))
    await order.run({ key, principal: 'p', input: { customer: 'ada' } })
    const other = order.run({ key, principal: 'p', input: { customer: 'bob' } })
    await expect(other).rejects.toThrow(KeyReusedError)
    expect(await customers()).toEqual(['ada'])
  })

  if (dialect === 'postgres') refusesAtCommit(() => ({ idem, subject, outside }))

  it("transaction: a conflict in the ORM's own statement is not applied", async () => {
    const order = operation(async (tx, { customer }) => {
      const id = await subject.insertOrder(tx, customer)
      await subject.conflict(tx)
      return id
    })
    const failed = order.run({ key, principal: 'p', input: { customer: 'ada' } })
    await expect(failed).rejects.toThrow(NotAppliedError)
    expect(await customers()).toEqual([])
  })
}

/** Postgres checks deferred constraints at COMMIT, once the handler has resolved and its record is written. */
function refusesAtCommit<Tx>(
  given: () => { idem: Idempotency<Tx>; subject: Subject<Tx>; outside: Outside },
): void {
  it('transaction: what the database refuses at COMMIT is not applied, and the key is free again', async () => {
    const { idem, subject, outside } = given()
    const order = idem.transaction('order', ({ customer }: Order, { tx }) =>
      subject.insertOrder(tx, customer),
    )
    const call = { key: 'refused', principal: 'p', input: { customer: 'refused at commit' } }
    await expect(order.run(call)).rejects.toThrow(NotAppliedError)
    await expect(order.run(call)).rejects.toThrow(NotAppliedError)
    expect(await outside('SELECT id FROM orders')).toEqual([])
  })
}

function openStore<Tx>(
  dialect: Dialect,
  { subject, url }: Setting<Tx>,
): { idem: Idempotency<Tx>; close: () => Promise<void> } {
  const transactions = subject.opener
  const pool =
    dialect === 'postgres'
      ? new pg.Pool({ connectionString: url, max: 2 })
      : mysql.createPool({ uri: url, connectionLimit: 2 })
  const store =
    pool instanceof pg.Pool ? postgresStore({ pool, transactions }) : mysqlStore({ pool, transactions })
  const idem = createIdempotency({ store, sweep: false })
  return {
    idem,
    close: async () => {
      await idem.close()
      await pool.end()
    },
  }
}
