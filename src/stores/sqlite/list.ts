/** Pages of records for people: bounded in rows that are scanned and in bytes that are read. */
import { InvalidOptionError } from '../../core/errors.ts'
import type { IdempotencyRecord } from '../../core/record.ts'
import type { ListPage, ListQuery } from '../../core/store.ts'
import { isOfItem } from './errors.ts'
import { phaseNumber } from '../sql/phases.ts'
import { asRow, idText, recordOf } from './rows.ts'
import type { Statements } from './statements.ts'
import { outcomeBytesMax } from './verbs.ts'

const limitMax = 1_000
/** Rows that one page looks through. A page ends there, short of its limit, and the next one goes on. */
const scanRowsMax = 10_000

interface Scanned {
  readonly seq: number
  readonly phase: number
  readonly operation: string
  readonly principal_tag: string
  readonly octets: number | null
}

/** @throws InvalidOptionError when limit or cursor is wrong */
export function listPage(statements: Statements, query: ListQuery, now: number): ListPage {
  const { limit, after } = query
  if (!Number.isInteger(limit) || limit < 1 || limit > limitMax) {
    throw new InvalidOptionError('limit', `must be a whole number from 1 to ${limitMax}`, limit)
  }
  const before = after === undefined ? Number.MAX_SAFE_INTEGER : readCursor(after)
  const rowsMax = isFiltered(query) ? scanRowsMax : limit + 1
  const scanned = statements.scan.all(before, rowsMax) as Scanned[]

  const records: IdempotencyRecord[] = []
  let octetsLeft = outcomeBytesMax
  let last: number | undefined
  for (const row of scanned) {
    if (matches(row, query)) {
      const octets = row.octets ?? 0
      if (records.length === limit || (records.length > 0 && octets > octetsLeft)) {
        return { now, records, next: last?.toString() }
      }
      octetsLeft -= octets
      const record = readRecord(statements, row.seq)
      if (record !== undefined) records.push(record)
    }
    last = row.seq
  }
  return { now, records, next: scanned.length === rowsMax ? last?.toString() : undefined }
}

function isFiltered({ phase, operation, principalTag }: ListQuery): boolean {
  return phase !== undefined || operation !== undefined || principalTag !== undefined
}

function matches(row: Scanned, { phase, operation, principalTag }: ListQuery): boolean {
  return (
    (phase === undefined || row.phase === phaseNumber[phase]) &&
    (operation === undefined || row.operation === operation) &&
    (principalTag === undefined || row.principal_tag === principalTag)
  )
}

/** Leaves out a damaged row: one of them must not hide all others from the person who looks for it. */
function readRecord(statements: Statements, seq: number): IdempotencyRecord | undefined {
  try {
    const row = asRow(statements.readSeq.get(seq))
    if (row === undefined) return undefined
    const [id, ...columns] = row
    return recordOf(idText(id), columns)
  } catch (error) {
    if (isOfItem(error)) return undefined
    throw error
  }
}

function readCursor(after: string): number {
  if (!/^\d{1,15}$/.test(after))
    throw new InvalidOptionError('after', 'must be `next` of another page', after)
  return Number(after)
}
