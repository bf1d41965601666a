/** What the SQLite store costs and saves, against the same work written by hand with the bare driver. */
import { randomUUID } from 'node:crypto'
import { createRequire } from 'node:module'
import { DatabaseSync } from 'node:sqlite'
import { createIdempotency } from '../src/index.ts'
import { type SqliteDatabase, type SqliteStore, sqliteStore } from '../src/stores/sqlite.ts'
import { type Case, drive, inRounds, type Pace, type Question, type Row } from './rounds.ts'
import { withScratch } from './scratch.ts'

const BetterSqlite = createRequire(import.meta.url)('better-sqlite3') as new (file: string) => SqliteDatabase

interface Charge {
  readonly amount: number
  readonly currency: string
}

const input: Charge = { amount: 4_200, currency: 'EUR' }
const effect = ({ amount }: Charge): object => ({ id: 'ch_3PqT1x', amount, status: 'succeeded' })

/** Keys that have an answer. */
const settledKeys = 1_000

/** The two things that are measured. */
interface Contestant {
  fresh(key: string): unknown
  replay(key: string): unknown
  close(): Promise<void> | void
}

/** Claim, run, store the answer, as one writes it in an afternoon: every statement commits by itself. */
function byHand(file: string): Contestant {
  const db = new DatabaseSync(file)
  db.exec(`
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE answers (key TEXT PRIMARY KEY, state TEXT NOT NULL, body TEXT) STRICT
  `)
  const claim = db.prepare(
    "INSERT INTO answers (key, state) VALUES (?, 'running') ON CONFLICT (key) DO NOTHING",
  )
  const settle = db.prepare("UPDATE answers SET state = 'done', body = ? WHERE key = ? AND state = 'running'")
  const find = db.prepare('SELECT state, body FROM answers WHERE key = ?')
  return {
    fresh(key) {
      if (claim.run(key).changes !== 1) throw new Error('The key is not fresh.')
      const value = effect(input)
      settle.run(JSON.stringify(value), key)
      return value
    },
    replay(key) {
      if (claim.run(key).changes !== 0) throw new Error('The key is fresh.')
      const row = find.get(key) as { readonly state: string; readonly body: string }
      if (row.state !== 'done') throw new Error('The key has no answer.')
      return JSON.parse(row.body)
    },
    close: () => db.close(),
  }
}

async function withStore(store: SqliteStore): Promise<Contestant> {
  await store.ready()
  const idem = createIdempotency({ store, sweep: false })
  const charge = idem.operation('charge', effect)
  return {
    fresh: (key) => charge.run({ key, principal: 'merchant-7', input }),
    async replay(key) {
      const { replayed } = await charge.run({ key, principal: 'merchant-7', input })
      if (!replayed) throw new Error('The key is fresh.')
    },
    async close() {
      await idem[Symbol.asyncDispose]()
      await store[Symbol.asyncDispose]()
    },
  }
}

async function casesOf(
  name: string,
  contestant: Contestant,
  floor: string,
  bars: { readonly fresh?: Case['bars']; readonly replay?: Case['bars'] },
): Promise<Case[]> {
  const keys = Array.from({ length: settledKeys }, () => randomUUID())
  await Promise.all(keys.map((key) => contestant.fresh(key)))
  let at = 0
  const nextKey = (): string => keys[at++ % keys.length] as string
  return [
    {
      name: `fresh, ${name}`,
      floor: `fresh, ${floor}`,
      ...(bars.fresh && { bars: bars.fresh }),
      measure: (concurrency, ms) => drive(concurrency, ms, () => contestant.fresh(randomUUID())),
    },
    {
      name: `replay, ${name}`,
      floor: `replay, ${floor}`,
      ...(bars.replay && { bars: bars.replay }),
      measure: (concurrency, ms) => drive(concurrency, ms, () => contestant.replay(nextKey())),
    },
  ]
}

async function measureIn(path: (name: string) => string, pace: Pace): Promise<readonly Row[]> {
  const floor = 'by hand'
  const bars = { fresh: { 1: 0.85, 64: 8 }, replay: { 1: 0.85, 64: 1.5 } }
  const contestants: Contestant[] = []
  const entered = (contestant: Contestant): Contestant => {
    contestants.push(contestant)
    return contestant
  }
  try {
    const cases = [
      ...(await casesOf(floor, entered(byHand(path('hand.db'))), floor, {})),
      ...(await casesOf(
        'sqliteStore',
        entered(await withStore(sqliteStore({ file: path('node.db') }))),
        floor,
        bars,
      )),
      ...(await casesOf(
        'sqliteStore on better-sqlite3',
        entered(await withStore(sqliteStore({ open: () => new BetterSqlite(path('better.db')) }))),
        floor,
        {},
      )),
    ]
    return await inRounds(cases, pace)
  } finally {
    for (const contestant of contestants) await contestant.close()
  }
}

export const question: Question = {
  asks: 'operations on the SQLite store against the same two commits by hand (node:sqlite)',
  measure: (pace) => withScratch((path) => measureIn(path, pace)),
}
