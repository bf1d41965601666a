/**
 * Pages of records for people, newest first. There is no B-tree on the time of creation, which would be a tenth
 * of every row; a BRIN index finds the pages of a stretch of time. So a page looks at stretches that grow until
 * it is full or has asked often enough, and then says where to go on.
 */
import { InvalidOptionError, StoreError } from '../../core/errors.ts'
import type { IdempotencyRecord } from '../../core/record.ts'
import type { ListPage, ListQuery } from '../../core/store.ts'
import { phaseNumber } from '../sql/phases.ts'
import { recordOf } from './rows.ts'
import type { VerbRunner } from './verbs.ts'

const limitMax = 1_000
const stretchMsFirst = 10 * 60_000
const stretchFactor = 8
/** After so many stretches (more than a century) everything was seen. */
const stretchesMax = 10
/** Records whose outcomes are read at once; a page of many large ones would not fit into memory. */
const rowsMax = 100
const idMin = '00000000-0000-0000-0000-000000000000'
const idMax = 'ffffffff-ffff-ffff-ffff-ffffffffffff'
const latest = 8_640_000_000_000_000

/** A place between two records: everything of an earlier time, or of the same time and a smaller id. */
interface Place {
  readonly createdAt: number
  readonly id: string
}

/** @throws InvalidOptionError when limit or cursor is wrong */
export async function listPage(verbs: VerbRunner, query: ListQuery): Promise<ListPage> {
  const { limit, after } = query
  if (!Number.isInteger(limit) || limit < 1 || limit > limitMax) {
    throw new InvalidOptionError('limit', `must be a whole number from 1 to ${limitMax}`, limit)
  }
  let place: Place = after === undefined ? { createdAt: latest, id: idMax } : readCursor(after)
  const [clockRow] = await verbs.run(verbs.statements.now, [])
  const now = Number(clockRow?.[0])
  const records: IdempotencyRecord[] = []
  let stretchMs = stretchMsFirst
  for (let stretch = 0; stretch < stretchesMax; stretch++) {
    const upTo = Math.min(place.createdAt, now + stretchMsFirst)
    const from = stretch === stretchesMax - 1 ? 0 : Math.max(0, upTo - stretchMs)
    const rowsAsked = Math.min(rowsMax, limit - records.length)
    const rows = await stretchOf(verbs, query, place, from, rowsAsked)
    for (const [octets] of rows) {
      const record = readable(octets)
      if (record !== undefined) records.push(record)
    }
    const last = rows.at(-1)
    if (last !== undefined && rows.length === rowsAsked) {
      // By the columns, not by the record: the last row may be a damaged one.
      place = { createdAt: Number(last[1]), id: String(last[2]) }
      if (records.length === limit) break
      continue
    }
    if (from === 0) return { now, records, next: undefined }
    place = { createdAt: from, id: idMin }
    stretchMs *= stretchFactor
  }
  return { now, records, next: cursorOf(place) }
}

async function stretchOf(
  verbs: VerbRunner,
  { phase, operation = '', principalTag = '' }: ListQuery,
  place: Place,
  from: number,
  rows: number,
): ReturnType<VerbRunner['run']> {
  const phaseCode = phase === undefined ? 0 : phaseNumber[phase]
  const values = [place.createdAt, place.id, from, phaseCode, operation, principalTag, rows]
  return await verbs.run(verbs.statements.list, values)
}

/** Leaves out a damaged row: one of them must not hide all others from the person who looks for it. */
function readable(value: unknown): IdempotencyRecord | undefined {
  try {
    return recordOf(value)
  } catch (error) {
    if (error instanceof StoreError) return undefined
    throw error
  }
}

function cursorOf({ createdAt, id }: Place): string {
  return `${createdAt}.${id.replaceAll('-', '')}`
}

function readCursor(after: string): Place {
  const [, createdAt, id] = /^(\d{1,16})\.([0-9a-f]{32})$/.exec(after) ?? []
  if (createdAt === undefined || id === undefined) {
    throw new InvalidOptionError('after', 'must be `next` of another page', after)
  }
  return { createdAt: Number(createdAt), id }
}
