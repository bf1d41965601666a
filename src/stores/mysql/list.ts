/** Pages of records for people: bounded in rows that are scanned and in bytes that are read. */
import { InvalidOptionError, StoreError } from '../../core/errors.ts'
import type { IdempotencyRecord } from '../../core/record.ts'
import type { ListPage, ListQuery } from '../../core/store.ts'
import { phaseNumber } from '../sql/phases.ts'
import type { Row, Run } from './client.ts'
import { integer, recordOf } from './rows.ts'
import type { ListStatements } from './statements.ts'
import { outcomeBytesMax } from './verbs.ts'

const limitMax = 1_000
/** Rows that one page looks through. A page ends there, short of its limit, and the next one goes on. */
const scanRowsMax = 10_000
/** Outcomes that one page reads, in octets, unless its first is larger by itself. */
const pageBytesMax = 4 * outcomeBytesMax

/** A place between two records: everything of an earlier time, or of the same time and a smaller id. */
interface Place {
  readonly createdAt: number
  readonly id: Buffer
}

const newest: Place = { createdAt: Number.MAX_SAFE_INTEGER, id: Buffer.alloc(16, 0xff) }

/** @throws InvalidOptionError when limit or cursor is wrong */
export async function listPage(
  run: Run,
  statements: ListStatements,
  now: () => Promise<number>,
  query: ListQuery,
): Promise<ListPage> {
  const { limit, after } = query
  if (!Number.isInteger(limit) || limit < 1 || limit > limitMax) {
    throw new InvalidOptionError('limit', `must be a whole number from 1 to ${limitMax}`, limit)
  }
  const { createdAt, id } = after === undefined ? newest : readCursor(after)
  const rowsMax = isFiltered(query) ? scanRowsMax : limit + 1
  const { rows } = await run(statements.scan, [createdAt, createdAt, id, rowsMax])
  const { taken, last } = take(rows, query)
  const isEnd = last === rows.at(-1) && rows.length < rowsMax
  return {
    now: await now(),
    records: await readAll(run, statements, taken),
    next: isEnd || last === undefined ? undefined : cursorOf(last),
  }
}

/** The rows of the page, and the last that was looked at. */
function take(rows: readonly Row[], query: ListQuery): { taken: readonly Row[]; last: Row | undefined } {
  const taken: Row[] = []
  let octetsLeft = pageBytesMax
  let last: Row | undefined
  for (const row of rows) {
    if (matches(row, query)) {
      const octets = integer(row.octets, 'outcome')
      if (taken.length === query.limit || (taken.length > 0 && octets > octetsLeft)) break
      octetsLeft -= octets
      taken.push(row)
    }
    last = row
  }
  return { taken, last }
}

function isFiltered({ phase, operation, principalTag }: ListQuery): boolean {
  return phase !== undefined || operation !== undefined || principalTag !== undefined
}

function matches(row: Row, { phase, operation, principalTag }: ListQuery): boolean {
  return (
    (phase === undefined || integer(row.phase, 'phase') === phaseNumber[phase]) &&
    (operation === undefined || text(row.operation) === operation) &&
    (principalTag === undefined || text(row.principal_tag) === principalTag)
  )
}

function text(value: unknown): string {
  return (value as Buffer).toString('utf8')
}

/** In the order of the page. Leaves out a damaged row: one of them must not hide all others. */
async function readAll(
  run: Run,
  statements: ListStatements,
  taken: readonly Row[],
): Promise<readonly IdempotencyRecord[]> {
  if (taken.length === 0) return []
  const { rows } = await run(
    statements.read(taken.length),
    taken.map(({ id }) => id as Buffer),
  )
  const byId = new Map(rows.map((row) => [hex(row.id), row]))
  const records: IdempotencyRecord[] = []
  for (const { id } of taken) {
    const row = byId.get(hex(id))
    const record = row === undefined ? undefined : readable(row)
    if (record !== undefined) records.push(record)
  }
  return records
}

function readable(row: Row): IdempotencyRecord | undefined {
  try {
    return recordOf(row)
  } catch (error) {
    if (error instanceof StoreError) return undefined
    throw error
  }
}

function hex(id: unknown): string {
  return (id as Buffer).toString('hex')
}

function cursorOf(row: Row): string {
  return `${integer(row.created_at, 'created_at')}.${hex(row.id)}`
}

function readCursor(after: string): Place {
  const [, createdAt, id] = /^(\d{1,15})\.([0-9a-f]{32})$/.exec(after) ?? []
  if (createdAt === undefined || id === undefined) {
    throw new InvalidOptionError('after', 'must be `next` of another page', after)
  }
  return { createdAt: Number(createdAt), id: Buffer.from(id, 'hex') }
}
