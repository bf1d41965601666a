/**
 * Pages of records for people, newest first, in a store that has no order of time: a page looks at every record once
 * and keeps the newest it has room for. Its cost is a walk of the whole store for each page; memory stays that of
 * one page.
 */
import { InvalidOptionError } from '../../core/errors.ts'
import type { IdempotencyRecord, RecordId } from '../../core/record.ts'
import type { ListPage, ListQuery } from '../../core/store.ts'

const limitMax = 1_000

/** A place between two records: everything of an earlier time, or of the same time and a smaller id. */
interface Place {
  readonly createdAt: number
  readonly id: string
}

/**
 * The page that `query` asks for. What comes or changes while it is walked is in it or not, and hides nothing else.
 *
 * @param walk all records, in any order; one that comes twice is listed once
 * @throws InvalidOptionError when limit or cursor is wrong
 */
export async function newestFirst(
  query: ListQuery,
  now: () => Promise<number>,
  walk: () => AsyncIterable<readonly IdempotencyRecord[]>,
): Promise<ListPage> {
  const { limit, after } = query
  if (!Number.isInteger(limit) || limit < 1 || limit > limitMax) {
    throw new InvalidOptionError('limit', `must be a whole number from 1 to ${limitMax}`, limit)
  }
  const before = after === undefined ? undefined : readCursor(after)
  const seenAt = await now()
  let newest = new Map<RecordId, IdempotencyRecord>()
  for await (const records of walk()) {
    for (const record of records) {
      if (matches(record, query) && (before === undefined || isNewer(before, record)))
        newest.set(record.id, record)
    }
    // One more than the page tells whether there is a next one.
    if (newest.size > 2 * limit + 1)
      newest = new Map(sorted(newest, limit + 1).map((each) => [each.id, each]))
  }
  const found = sorted(newest, limit + 1)
  const page = found.slice(0, limit)
  const last = page.at(-1)
  const next = found.length > limit && last !== undefined ? `${last.createdAt}.${last.id}` : undefined
  return { now: seenAt, records: page, next }
}

function matches(record: IdempotencyRecord, { phase, operation, principalTag }: ListQuery): boolean {
  return (
    (phase === undefined || record.phase === phase) &&
    (operation === undefined || record.operation === operation) &&
    (principalTag === undefined || record.principalTag === principalTag)
  )
}

function sorted(records: ReadonlyMap<RecordId, IdempotencyRecord>, limit: number): IdempotencyRecord[] {
  return [...records.values()].sort((a, b) => (isNewer(a, b) ? -1 : 1)).slice(0, limit)
}

function isNewer(a: Place, b: Place): boolean {
  return a.createdAt > b.createdAt || (a.createdAt === b.createdAt && a.id > b.id)
}

function readCursor(after: string): Place {
  const [, createdAt, id] = /^(\d{1,16})\.([\w-]{22})$/.exec(after) ?? []
  if (createdAt === undefined || id === undefined) {
    throw new InvalidOptionError('after', 'must be `next` of another page', after)
  }
  return { createdAt: Number(createdAt), id }
}
