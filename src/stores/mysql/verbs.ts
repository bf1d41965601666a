/**
 * The verbs over one way to run a statement: the pool, where each commits by itself, or a transaction. An item
 * that cannot be written down is answered `failed` and does not travel.
 *
 * A statement that changes rows says only how many; where that is all of them, which is nearly always, one round
 * trip is enough. Otherwise the records are read, and those that bear the mark of this very statement (its time
 * and the caller's token) are the ones it changed.
 */
import { StoreError } from '../../core/errors.ts'
import type { IdempotencyRecord, RecordId } from '../../core/record.ts'
import type {
  Claim,
  ClaimReply,
  FailedItem,
  Renewal,
  RenewalReply,
  Replies,
  Settlement,
  SettlementReply,
  Takeover,
  TakeoverReply,
} from '../../core/store.ts'
import { phaseNumberOf, settledParts } from '../sql/phases.ts'
import type { Answer, Row, Run, Value } from './client.ts'
import { fingerprintOctets, idOctets, idText, integer, nameOctets, recordOf, tokenOctets } from './rows.ts'
import type { Statements } from './statements.ts'

/**
 * Largest encoded outcome that the store takes: twice as long in a statement, which has to fit into the server's
 * max_allowed_packet (16 MiB by default on MariaDB).
 */
export const outcomeBytesMax: number = 4 * 1024 * 1024
/** Outcomes in one statement, in octets; larger batches are split. */
const batchBytesMax = 4 * 1024 * 1024
/** Half of what a number holds exactly, so that a time and a duration still fit. */
const durationMsMax = 2 ** 52

export interface VerbRunner {
  readonly statements: Statements
  readonly run: Run
}

/** An item that can be sent: its place in the verb, its record and its values. */
interface Sendable<Item> {
  readonly at: number
  readonly item: Item
  readonly id: RecordId
  readonly octets: Buffer
  readonly values: readonly Value[]
}

/** A verb that changes rows: how it is sent, and what its effect is known by. */
interface Shape<Item, Reply> {
  id(item: Item): RecordId
  /** Values of one item, in the order of the statement. @throws StoreError when it cannot be written down */
  values(item: Item): readonly Value[]
  text(count: number): string
  /** The reply where the statement changed the row. `record` is there where `reads`. */
  done(item: Item, record: IdempotencyRecord | undefined): Reply
  /** The reply where it did not. */
  refused(record: IdempotencyRecord | undefined): Reply | FailedItem
  /**
   * Whether the row as it is now is what this item made of it. `now`: the time of the statement, where it changed
   * some rows of several; `undefined` where it changed none.
   */
  isMade(item: Item, record: IdempotencyRecord, now: number | undefined): boolean
  /** The record is needed even when every row was changed. */
  readonly reads?: true
}

export function claim(
  { statements, run }: VerbRunner,
  claims: readonly Claim[],
): Promise<Replies<ClaimReply>> {
  return changeAll(statements, run, claims, {
    id: ({ id }) => id,
    values: claimValues,
    text: (count) => statements.claim(count),
    done: (): ClaimReply => ({ kind: 'claimed' }),
    refused: (record) => (record === undefined ? gone() : { kind: 'found', record }),
    isMade: ({ token }, record, now) =>
      record.token === token && record.phase === 'running' && record.createdAt === now,
  })
}

export function supersede(
  { statements, run }: VerbRunner,
  takeovers: readonly Takeover[],
): Promise<Replies<TakeoverReply>> {
  return changeAll(statements, run, takeovers, {
    id: (takeover) => takeover.claim.id,
    values: ({ seenToken, seenPhase, claim: asked }) => {
      const values = claimValues(asked)
      const [id, rest] = [values.slice(0, 1), values.slice(1, 7)]
      const seen = [tokenOctets(seenToken), phaseNumberOf(seenPhase)]
      return takeovers.length === 1 ? [...rest, ...id, ...seen] : [...id, ...seen, ...rest]
    },
    text: (count) => (takeovers.length === 1 ? statements.supersede : statements.supersedeMany(count)),
    done: (asked, record): TakeoverReply =>
      // The fence comes with the record; who took it over from us in between has made our takeover void.
      record?.token === asked.claim.token
        ? { kind: 'superseded', fence: record.fence }
        : { kind: 'refused', record },
    refused: (record) => ({ kind: 'refused', record }),
    isMade: ({ claim: { token, leaseMs } }, record, now) =>
      record.token === token &&
      record.phase === 'running' &&
      now !== undefined &&
      record.leaseUntil === now + Math.round(leaseMs),
    reads: true,
  })
}

export function renew(
  { statements, run }: VerbRunner,
  renewals: readonly Renewal[],
): Promise<Replies<RenewalReply>> {
  return changeAll(statements, run, renewals, {
    id: ({ id }) => id,
    values: ({ id, token, leaseMs }) => {
      const [octets, held, lease] = [idOctets(id), tokenOctets(token), milliseconds(leaseMs)]
      return renewals.length === 1 ? [lease, octets, held] : [octets, held, lease]
    },
    text: (count) => (renewals.length === 1 ? statements.renew : statements.renewMany(count)),
    done: (): RenewalReply => ({ kind: 'renewed' }),
    refused: () => ({ kind: 'lost' }),
    // A row that had this very lease already is not counted where the connection counts changes only.
    isMade: ({ token }, record) => record.token === token && record.phase === 'running',
  })
}

export function settle(
  { statements, run }: VerbRunner,
  settlements: readonly Settlement[],
): Promise<Replies<SettlementReply>> {
  return changeAll(statements, run, settlements, {
    id: ({ id }) => id,
    values: (settlement) => {
      const { phase, liveMs, keptMs, outcome } = settledParts(settlement)
      const [id, token] = [idOctets(settlement.id), tokenOctets(settlement.token)]
      const [live, kept, octets] = [milliseconds(liveMs), milliseconds(keptMs), outcomeOctets(outcome)]
      return settlements.length === 1
        ? [phase, live, kept, live, octets, id, token]
        : [id, token, phase, live, kept, octets]
    },
    text: (count) => (settlements.length === 1 ? statements.settle : statements.settleMany(count)),
    done: (): SettlementReply => ({ kind: 'settled' }),
    refused: (record) => ({ kind: 'refused', record }),
    isMade: ({ token, to }, record, now) =>
      record.token === token && record.phase === to && 'settledAt' in record && record.settledAt === now,
  })
}

export async function read(
  { statements, run }: VerbRunner,
  ids: readonly RecordId[],
): Promise<Replies<IdempotencyRecord | undefined>> {
  const { now, records } = await readRecords(run, (count) => statements.read(count), ids.map(idOctets))
  const replies = ids.map((id) => {
    const record = records.get(id)
    if (record !== undefined && isFailed(record)) throw record.error
    return record
  })
  return { now, replies }
}

/** The values of a claim, in the order of its statement. @throws StoreError `permanent` */
export function claimValues(asked: Claim): readonly Value[] {
  const { id, token, fingerprint, principalTag, operation, leaseMs, retentionMs } = asked
  const retention = milliseconds(retentionMs)
  return [
    idOctets(id),
    tokenOctets(token),
    fingerprintOctets(fingerprint),
    nameOctets(principalTag),
    nameOctets(operation),
    milliseconds(leaseMs),
    retention,
    retention,
  ]
}

async function changeAll<Item, Reply>(
  statements: Statements,
  run: Run,
  items: readonly Item[],
  shape: Shape<Item, Reply>,
): Promise<Replies<Reply | FailedItem>> {
  const replies: (Reply | FailedItem | undefined)[] = items.map(() => undefined)
  const sendables: Sendable<Item>[] = []
  for (const [at, item] of items.entries()) {
    const made = caught(() => {
      const id = shape.id(item)
      return { at, item, id, octets: idOctets(id), values: shape.values(item) }
    })
    if (isFailed(made)) replies[at] = made
    else sendables.push(made)
  }
  let now: number | undefined
  for (const part of parts(sendables)) {
    const answer = await run(
      shape.text(part.length),
      part.flatMap(({ values }) => values),
    )
    const isWhole = answer.affected === part.length
    if (isWhole && shape.reads !== true && answer.insertId > 0) {
      now ??= answer.insertId
      for (const { at, item } of part) replies[at] = shape.done(item, undefined)
    } else {
      now = await lookAfter(statements, run, part, answer, shape, replies)
    }
  }
  return { now: now ?? (await nowOf(statements, run)), replies: replies as (Reply | FailedItem)[] }
}

/** Reads what is there after a statement that did not change every row, or whose rows are asked for. */
async function lookAfter<Item, Reply>(
  statements: Statements,
  run: Run,
  part: readonly Sendable<Item>[],
  { affected, insertId }: Answer,
  shape: Shape<Item, Reply>,
  replies: (Reply | FailedItem | undefined)[],
): Promise<number> {
  const ids = part.map(({ octets }) => octets)
  const { now, records } = await readRecords(run, (count) => statements.look(count), ids)
  const isWhole = affected === part.length
  const changedAt = part.length > 1 && affected > 0 && insertId > 0 ? insertId : undefined
  for (const { at, item, id } of part) {
    const record = records.get(id)
    if (record !== undefined && isFailed(record)) {
      replies[at] = record
      continue
    }
    const isMade = record !== undefined && shape.isMade(item, record, changedAt)
    replies[at] = isWhole || isMade ? shape.done(item, record) : shape.refused(record)
  }
  return insertId > 0 ? insertId : now
}

/** Records by id; a damaged one is a failure. With the clock, also where there is no record. */
export async function readRecords(
  run: Run,
  text: (count: number) => string,
  ids: readonly Buffer[],
): Promise<{
  readonly now: number
  readonly records: ReadonlyMap<RecordId, IdempotencyRecord | FailedItem>
}> {
  const records = new Map<RecordId, IdempotencyRecord | FailedItem>()
  // Without an id the statement would be none, and the clock is asked for all the same.
  const { rows } = await run(text(Math.max(1, ids.length)), ids.length === 0 ? [Buffer.alloc(16)] : ids)
  for (const row of rows) {
    if (row.id === null) continue
    records.set(
      idText(row.id),
      caught(() => recordOf(row)),
    )
  }
  return { now: integer((rows[0] as Row).now_ms, 'now_ms'), records }
}

export async function nowOf(statements: Statements, run: Run): Promise<number> {
  const { rows } = await run(statements.now, [])
  return integer(rows[0]?.now_ms, 'now_ms')
}

/**
 * Cuts a batch where its outcomes grow too large, and before an id that is in it already: the second is asked
 * after the first was answered.
 */
function parts<Item>(sendables: readonly Sendable<Item>[]): readonly (readonly Sendable<Item>[])[] {
  const made: Sendable<Item>[][] = []
  let ids = new Set<RecordId>()
  let bytes = 0
  for (const sendable of sendables) {
    const size = sendable.values.reduce<number>(
      (sum, it) => sum + (typeof it === 'number' ? 8 : it.length),
      0,
    )
    if (made.length === 0 || ids.has(sendable.id) || bytes + size > batchBytesMax) {
      made.push([])
      ids = new Set()
      bytes = 0
    }
    ids.add(sendable.id)
    bytes += size
    made.at(-1)?.push(sendable)
  }
  return made
}

/** A whole number of milliseconds that fits a column. @throws StoreError `permanent` */
function milliseconds(ms: number): number {
  const whole = typeof ms === 'number' ? Math.round(ms) : Number.NaN
  if (whole >= 0 && whole <= durationMsMax) return whole
  throw new StoreError('permanent', 'A duration is no number, negative or too long.')
}

/** @throws StoreError `permanent` when the outcome is not octets, or over the limit */
function outcomeOctets(outcome: Uint8Array | undefined): Buffer {
  if (outcome === undefined) return Buffer.alloc(0)
  if (!(outcome instanceof Uint8Array)) throw new StoreError('permanent', 'An outcome is not octets.')
  if (outcome.byteLength > outcomeBytesMax) {
    throw new StoreError('permanent', `An outcome is over ${outcomeBytesMax} bytes.`)
  }
  return Buffer.from(outcome.buffer, outcome.byteOffset, outcome.byteLength)
}

function caught<Value_>(make: () => Value_): Value_ | FailedItem {
  try {
    return make()
  } catch (error) {
    if (error instanceof StoreError) return { kind: 'failed', error }
    throw error
  }
}

export function isFailed(reply: unknown): reply is FailedItem {
  return typeof reply === 'object' && reply !== null && 'kind' in reply && reply.kind === 'failed'
}

function gone(): FailedItem {
  const error = new StoreError('transient', 'A record was removed while it was looked at.')
  return { kind: 'failed', error }
}
