/** Effect and record in one commit, and an answer that leaves only after it, behind every adapter on Postgres. */
import { once } from 'node:events'
import pg from 'pg'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import type { TransactionalStore } from '../../src/core/store.ts'
import { createIdempotency, type Idempotency } from '../../src/engine/idempotency.ts'
import { postgresStore } from '../../src/stores/postgres.ts'
import { type FaultProxy, startFaultProxy } from '../../src/verification/index.ts'
import { eventually } from '../eventually.ts'
import { hasPostgres, postgresDatabase } from '../servers.ts'
import { codeOf, post } from './serving.ts'
import { listen, listenedRequest, type Options, starts, type Work } from './transaction-servers.ts'

type Tx = pg.PoolClient

interface Rig {
  readonly idem: Idempotency<Tx>
  readonly store: TransactionalStore<Tx>
  readonly proxy: FaultProxy
  /** Orders and records that others see. */
  seen(): Promise<{ orders: string[]; records: number }>
}

/** A database of its own behind a proxy; `connections` of the pool serve handlers and verbs. */
async function rigOf(connections = 4): Promise<Rig> {
  const address = new URL(await postgresDatabase())
  const outside = new pg.Pool({ connectionString: address.href, max: 2 })
  const proxy = await startFaultProxy({
    target: { host: address.hostname, port: Number(address.port || 5432) },
  })
  address.hostname = '127.0.0.1'
  address.port = `${proxy.port}`
  const pool = new pg.Pool({ connectionString: address.href, max: connections })
  pool.on('error', () => {})
  const store = postgresStore({ pool })
  const idem = createIdempotency({ store, sweep: false })
  onTestFinished(async () => {
    await idem.close()
    await pool.end()
    await outside.end()
    await proxy.close()
  })
  await store.ready()
  await outside.query('CREATE TABLE orders (customer text NOT NULL)')
  const seen = async (): Promise<{ orders: string[]; records: number }> => {
    const { rows } = await outside.query('SELECT customer FROM orders ORDER BY 1')
    const { records } = await store.list({ limit: 100 })
    return { orders: rows.map(({ customer }) => customer), records: records.length }
  }
  return { idem, store, proxy, seen }
}

const insert = async (tx: Tx, customer = 'ada'): Promise<void> => {
  await tx.query('INSERT INTO orders VALUES ($1)', [customer])
}

/** Inserts, and answers what the request asks for in the field X-Status; 0 throws. */
const order: Work<Tx> = async ({ tx }, field) => {
  await insert(tx)
  const status = Number(field('x-status') ?? 201)
  if (status === 0) throw new Error('told to throw')
  return { status, body: ['or', 'de', 'red'] }
}

const withStatus = (status: number): RequestInit => ({ headers: { 'X-Status': `${status}` } })

beforeEach(({ skip }) => skip(!hasPostgres, 'no server of postgres'))

describe.each(Object.entries(starts))('%s', (_name, start) => {
  test('effect and record appear together, and the answer is replayed', async () => {
    const { idem, seen } = await rigOf()
    const working = Promise.withResolvers<void>()
    const goOn = Promise.withResolvers<void>()
    const { origin } = await start(idem, {}, async (context, field) => {
      const answer = await order(context, field)
      working.resolve()
      await goOn.promise
      return answer
    })
    const first = post(origin)
    await working.promise
    expect(await seen()).toEqual({ orders: [], records: 0 })
    goOn.resolve()
    const answers = [await first, await post(origin)]
    expect(answers.map(({ status, body, replayed }) => [status, body.toString(), replayed])).toEqual([
      [201, 'ordered', false],
      [201, 'ordered', true],
    ])
    expect(await seen()).toEqual({ orders: ['ada'], records: 1 })
  })

  test('a 4xx of the handler is kept with what it wrote', async () => {
    const { idem, seen } = await rigOf()
    const { origin } = await start(idem, {}, order)
    expect((await post(origin, withStatus(422))).status).toBe(422)
    const again = await post(origin)
    expect([again.status, again.replayed]).toEqual([422, true])
    expect(await seen()).toEqual({ orders: ['ada'], records: 1 })
  })

  test.each([500, 429, 0])(
    'an answer of %i (0: an error) rolls back, and the next attempt runs',
    async (status) => {
      const { idem, seen } = await rigOf()
      const { origin } = await start(idem, {}, order)
      expect((await post(origin, withStatus(status))).status).toBe(status || 500)
      expect(await seen()).toEqual({ orders: [], records: 0 })
      const again = await post(origin)
      expect([again.status, again.replayed]).toEqual([201, false])
      expect(await seen()).toEqual({ orders: ['ada'], records: 1 })
    },
  )

  test('not one octet of the answer leaves before the commit', async () => {
    const { store, seen } = await rigOf()
    const decided = Promise.withResolvers<void>()
    const commit = Promise.withResolvers<void>()
    const idem = createIdempotency({
      store: heldAtCommit(store, decided.resolve, commit.promise),
      sweep: false,
    })
    const { port } = await start(idem, {}, order)
    const client = listen(port)
    await decided.promise
    // A round trip of another connection: what had been sent before it would have come by now.
    await seen()
    expect(client.octets()).toBe('')
    expect(await seen()).toEqual({ orders: [], records: 0 })
    commit.resolve()
    await eventually(() => expect(client.octets()).toMatch(/^HTTP\/1\.1 201 /))
    expect(await seen()).toEqual({ orders: ['ada'], records: 1 })
  })

  test('duplicates of a running request are refused, or wait and are given its answer', async () => {
    const { idem, seen } = await rigOf()
    const working = Promise.withResolvers<void>()
    const goOn = Promise.withResolvers<void>()
    const held: Work<Tx> = async (context, field) => {
      working.resolve()
      await goOn.promise
      return await order(context, field)
    }
    const refusing = await start(idem, {}, held)
    const waiting = await start(idem, { wait: '10s' }, held)
    const first = post(refusing.origin)
    await working.promise
    const refused = await post(refusing.origin)
    expect([refused.status, codeOf(refused)]).toEqual([409, 'in-progress'])
    const waiter = post(waiting.origin)
    goOn.resolve()
    expect((await first).status).toBe(201)
    const waited = await waiter
    expect([waited.status, waited.replayed]).toEqual([201, true])
    expect(await seen()).toEqual({ orders: ['ada'], records: 1 })
  })

  test.each([
    ['after', 201, undefined, ['ada']],
    ['before', 503, 'not-applied', []],
  ] as const)('a connection that breaks %s its COMMIT is looked into', async (when, status, code, orders) => {
    const { idem, proxy, seen } = await rigOf()
    const { origin } = await start(idem, {}, order)
    proxy.cutOn(';COMMIT', when)
    const answer = await post(origin)
    expect(answer.status).toBe(status)
    if (code !== undefined) {
      expect([codeOf(answer), answer.headers.get('retry-after')]).toEqual([code, '1'])
    }
    expect((await seen()).orders).toEqual(orders)
    const again = await post(origin)
    expect([again.status, again.replayed]).toEqual([201, when === 'after'])
    expect(await seen()).toEqual({ orders: ['ada'], records: 1 })
  })

  test('twenty at once have one effect and one answer', async () => {
    const { idem, seen } = await rigOf()
    const { origin } = await start(idem, { wait: '10s' }, order)
    const answers = await Promise.all(Array.from({ length: 20 }, () => post(origin)))
    expect(answers.map(({ status, body }) => `${status} ${body.toString()}`)).toEqual(
      Array(20).fill('201 ordered'),
    )
    expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1)
    expect(await seen()).toEqual({ orders: ['ada'], records: 1 })
  })

  test.each<[string, Options, Awaited<ReturnType<Work<Tx>>>]>([
    ['an event stream', {}, { status: 200, body: ['data: 1\n\n'], events: true }],
    ['an answer over the limit', { responseBytesMax: 8 }, { status: 201, body: ['12345', '67890'] }],
    ['an answer of one piece over the limit', { responseBytesMax: 8 }, { status: 201, body: '1234567890' }],
  ])('%s is refused, and nothing is applied', async (_what, options, answer) => {
    const { idem, seen } = await rigOf(1)
    const { origin } = await start(idem, options, async ({ tx }) => {
      await insert(tx)
      return answer
    })
    for (const _ of [1, 2]) {
      let refused = await post(origin)
      // Until the database has noticed that the connection is gone.
      while (refused.status === 409) refused = await post(origin)
      expect([refused.status, codeOf(refused)]).toEqual([500, 'outcome-unstorable'])
      expect(refused.body.toString()).toContain('Nothing was applied.')
    }
    expect(await seen()).toEqual({ orders: [], records: 0 })
  })

  test('a client that leaves does not undo its request', async () => {
    const { idem, seen } = await rigOf()
    const working = Promise.withResolvers<void>()
    const goOn = Promise.withResolvers<void>()
    const { origin, port } = await start(idem, {}, async (context, field) => {
      working.resolve()
      await goOn.promise
      return { ...(await order(context, field)), body: 'ordered' }
    })
    const client = listen(port)
    await working.promise
    await client.leave()
    goOn.resolve()
    await eventually(async () => expect(await seen()).toEqual({ orders: ['ada'], records: 1 }))
    const again = await post(origin, listenedRequest)
    expect([again.status, again.replayed]).toEqual([201, true])
  })
})

/** Tells when the work has decided, and holds its commit until then. */
function heldAtCommit(
  store: TransactionalStore<Tx>,
  decided: () => void,
  commit: Promise<void>,
): TransactionalStore<Tx> {
  return new Proxy(store, {
    get(target, name): unknown {
      if (name !== 'transaction') {
        const member: unknown = Reflect.get(target, name, target)
        return typeof member === 'function' ? (member.bind(target) as unknown) : member
      }
      const held: TransactionalStore<Tx>['transaction'] = (work, opening) =>
        target.transaction(async (tx, records) => {
          const verdict = await work(tx, records)
          decided()
          await commit
          return verdict
        }, opening)
      return held
    },
  })
}

describe('a handler that never answers', () => {
  test('is rolled back in time, gives its connection back, and can do nothing more', async () => {
    const { idem, seen } = await rigOf(1)
    const late = Promise.withResolvers<unknown>()
    let isAborted = false
    const start = starts['node'] as (typeof starts)[string]
    const { origin } = await start(idem, { timeout: '200ms' }, async ({ tx, signal }, field) => {
      await insert(tx)
      if (field('x-status') === undefined) return { status: 201, body: 'ordered' }
      await once(signal, 'abort')
      isAborted = true
      late.resolve(insert(tx, 'late').catch((error: unknown) => error))
      await late.promise
      return { status: 201, body: 'too late' }
    })
    const slow = await post(origin, withStatus(1))
    expect([slow.status, codeOf(slow), isAborted]).toEqual([503, 'not-applied', true])
    expect(await late.promise).toBeInstanceOf(Error)
    expect(await seen()).toEqual({ orders: [], records: 0 })
    expect((await post(origin)).status).toBe(201)
    expect(await seen()).toEqual({ orders: ['ada'], records: 1 })
  })
})
