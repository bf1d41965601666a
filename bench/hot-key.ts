/** Whether duplicates of one slow key take the connections of everybody else. */
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { createIdempotency } from '../src/index.ts'
import { postgresStore } from '../src/stores/postgres.ts'
import { withPostgres } from './database.ts'
import {
  drive,
  median,
  type Pace,
  type Question,
  quantile,
  ratio,
  type Row,
  rounded,
  type Sample,
} from './rounds.ts'

const duplicates = 50
const poolMax = 4
/** Within twice the latency, which is half the rate of one caller. */
const bar = 0.5
const principal = 'merchant-7'

async function measureOn(url: string, pace: Pace): Promise<readonly Row[]> {
  // The key runs in another process, as far as the pool can tell: by an instance of its own.
  const [elsewhere, pool] = [1, poolMax].map((max) => new pg.Pool({ connectionString: url, max })) as [
    pg.Pool,
    pg.Pool,
  ]
  const holder = createIdempotency({ store: postgresStore({ pool: elsewhere }), sweep: false })
  const idem = createIdempotency({ store: postgresStore({ pool }), sweep: false, wait: '1m' })
  await pool.query('CREATE TABLE charges (id uuid)')
  const insert = 'INSERT INTO charges (id) VALUES ($1)'
  const unrelated = idem.transaction('unrelated', async (id: string, { tx }) => {
    await tx.query(insert, [id])
    return id
  })
  const once = (): Promise<unknown> => {
    const id = randomUUID()
    return unrelated.run({ key: id, principal, input: id })
  }
  const samples: { quiet: Sample; busy: Sample }[] = []
  try {
    if (!pace.quick) await drive(1, pace.caseMs, once)
    for (let round = 0; round < pace.rounds; round++) {
      const quiet = await drive(1, pace.caseMs, once)
      const [inside, over] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      const slow = holder.transaction('slow', async (id: string, { tx }) => {
        await tx.query(insert, [randomUUID()])
        inside.resolve()
        await over.promise
        return id
      })
      const again = idem.transaction('slow', (id: string) => id)
      const call = { key: randomUUID(), principal, input: 'slow' }
      const first = slow.run(call)
      await inside.promise
      const waiting = Array.from({ length: duplicates }, () => again.run(call))
      const busy = await drive(1, pace.caseMs, once)
      over.resolve()
      await Promise.all([first, ...waiting])
      samples.push({ quiet, busy })
    }
  } finally {
    await holder.close()
    await idem.close()
    await Promise.all([pool.end(), elsewhere.end()])
  }
  const row = (name: string, pick: 'quiet' | 'busy'): Row => {
    const latencies = samples.map(({ [pick]: { latenciesMs } }) => latenciesMs.toSorted((a, b) => a - b))
    const at = (fraction: number): number =>
      rounded(median(latencies.map((each) => quantile(each, fraction))), 3)
    return {
      case: name,
      floor: 'unrelated, quiet',
      concurrency: 1,
      medianPerSecond: rounded(median(samples.map(({ [pick]: { perSecond } }) => perSecond)), 0),
      ratioToFloor: ratio(median(samples.map(({ quiet, [pick]: own }) => own.perSecond / quiet.perSecond))),
      p50Ms: at(0.5),
      p99Ms: at(0.99),
      ...(pick === 'busy' && { bar }),
    }
  }
  return [row('unrelated, quiet', 'quiet'), row(`unrelated, while ${duplicates} duplicates wait`, 'busy')]
}

export const question: Question = {
  asks: `an unrelated operation while ${duplicates} duplicates of a slow key wait on a pool of ${poolMax}`,
  measure: (pace) => withPostgres((url) => measureOn(url, pace)),
}
