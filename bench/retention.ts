/** What a large table costs: bytes, and claims while the sweep takes a tenth of it away. */
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { createIdempotency } from '../src/index.ts'
import { postgresStore } from '../src/stores/postgres.ts'
import { withPostgres } from './database.ts'
import { drive, type Pace, type Question, quantile, type Row, rounded } from './rounds.ts'

const recordsFull = 10_000_000
const recordsQuick = 20_000
const chunk = 500_000
/** Every tenth record is past its retention. */
const expiredPart = 10
const concurrency = 16
const bytesBar = 300
/** p99 within 1.5 times its quiet value. */
const bar = rounded(1 / 1.5, 2)
const principal = 'merchant-7'
const windowMs = 1_000
const windowsMax = 600

/** Completed records of an outcome of 100 octets; the expired ones lie between the others. */
async function load(pool: pg.Pool, records: number): Promise<void> {
  const size = Math.min(chunk, records)
  for (let done = 0; done < records; done += size) {
    await pool.query(
      `INSERT INTO retrysafe_records
       SELECT t.past, t.past, t.over, t.over, 1, (t.over / 60000)::int, 2, gen_random_uuid(), gen_random_uuid(),
              '\\x01' || decode(md5(n::text), 'hex'), 'aBcDeFgHiJ', 'charge', decode(repeat(md5(n::text), 6) || '01020304', 'hex')
       FROM generate_series(1, ${size}) AS n
       CROSS JOIN LATERAL (
         SELECT (extract(epoch FROM now()) * 1000)::bigint - 90000000 + n AS past,
                (extract(epoch FROM now()) * 1000)::bigint
                  + CASE WHEN n % ${expiredPart} = 0 THEN -600000 ELSE 80000000 END AS over
       ) AS t`,
    )
  }
  await pool.query('VACUUM (ANALYZE) retrysafe_records')
}

async function bytes(
  pool: pg.Pool,
): Promise<{ readonly rows: number; readonly heap: number; readonly indexes: number }> {
  const { rows } = await pool.query(
    `SELECT (SELECT count(*) FROM retrysafe_records)::float8 AS rows, pg_table_size('retrysafe_records')::float8 AS heap,
            pg_indexes_size('retrysafe_records')::float8 AS indexes`,
  )
  return rows[0]
}

const describe = ({ rows, heap, indexes }: { rows: number; heap: number; indexes: number }): string =>
  `${rows} rows, ${((heap + indexes) / 2 ** 20).toFixed(0)} MiB`

async function measureOn(url: string, pace: Pace): Promise<readonly Row[]> {
  const pool = new pg.Pool({ connectionString: url, max: concurrency + 4 })
  const store = postgresStore({ pool })
  await store.ready()
  await load(pool, pace.quick ? recordsQuick : recordsFull)
  const before = await bytes(pool)
  const perRecord = { heap: before.heap / before.rows, indexes: before.indexes / before.rows }

  const still = createIdempotency({ store, sweep: false })
  const charge = still.operation('charge', (input: { amount: number }) => input)
  const claim = (): Promise<unknown> => charge.run({ key: randomUUID(), principal, input: { amount: 4_200 } })
  const windowOfMs = pace.quick ? pace.caseMs : windowMs
  const quiet: number[][] = []
  const busy: number[][] = []
  await drive(concurrency, windowOfMs, claim)
  for (let window = 0; window < (pace.quick ? 1 : 15); window++) {
    quiet.push([...(await drive(concurrency, windowOfMs, claim)).latenciesMs])
  }
  const isLeft = async (): Promise<boolean> => {
    const text = `SELECT 1 FROM retrysafe_records
      WHERE sweep_minute <= extract(epoch FROM now()) / 60 - 1 AND kept_until < extract(epoch FROM now()) * 1000 LIMIT 1`
    return (await pool.query(text)).rowCount === 1
  }
  const startedAt = performance.now()
  const sweeping = createIdempotency({ store: postgresStore({ pool }), sweep: '1s' })
  for (let window = 0; window < windowsMax && (await isLeft()); window++) {
    busy.push([...(await drive(concurrency, windowOfMs, claim)).latenciesMs])
  }
  const sweptMs = performance.now() - startedAt
  await sweeping.close()
  const after = await bytes(pool)
  await pool.query('VACUUM retrysafe_records')
  const vacuumed = await bytes(pool)
  await still.close()
  await pool.end()

  const sorted = (windows: readonly number[][]): number[] => windows.flat().toSorted((a, b) => a - b)
  const [calm, loaded] = [sorted(quiet), sorted(busy)]
  const p99 = { quiet: quantile(calm, 0.99), busy: quantile(loaded, 0.99) }
  const expired = before.rows / expiredPart
  const row = (name: string, latencies: readonly number[], windows: number, ratioToFloor: number): Row => ({
    case: name,
    floor: 'claims, quiet',
    concurrency,
    medianPerSecond: rounded((latencies.length * 1_000) / (windows * windowOfMs), 0),
    ratioToFloor,
    p50Ms: rounded(quantile(latencies, 0.5), 3),
    p99Ms: rounded(quantile(latencies, 0.99), 3),
  })
  const total = perRecord.heap + perRecord.indexes
  return [
    {
      ...row('claims, quiet', calm, quiet.length, 1),
      note: `${total.toFixed(0)} bytes a record (table ${perRecord.heap.toFixed(0)}, indexes ${perRecord.indexes.toFixed(0)}; bar ${bytesBar} ${total <= bytesBar ? 'met' : 'missed'}); ${describe(before)}`,
    },
    {
      ...row('claims, while the sweep removes', loaded, busy.length, rounded(p99.quiet / p99.busy, 2)),
      bar,
      note: `ratio of p99; ${expired} removed in ${(sweptMs / 1_000).toFixed(0)} s; then ${describe(after)}, vacuumed ${describe(vacuumed)}`,
    },
  ]
}

export const question: Question = {
  asks: 'bytes of a record, and claims while the sweep takes a tenth of 10,000,000 records away',
  measure: (pace) => withPostgres((url) => measureOn(url, pace)),
}
