/**
 * Records inside a transaction. Claims read, and remember what they saw; what is written is kept aside until one
 * request writes records and entries together, each under the condition that what was seen is still there. So of
 * two that saw the same, one commits and the other is refused, with nothing of it applied.
 *
 * Within one process an id that an open transaction of the store has claimed is `locked` for the others: their
 * work would be for nothing.
 */
import { InvalidOptionError, StoreError } from '../../core/errors.ts'
import { settleRecord, supersedeRecord } from '../../core/record-verbs.ts'
import type { RecordId } from '../../core/record.ts'
import type {
  Claim,
  ClaimReply,
  RecordVerbs,
  Replies,
  Settlement,
  SettlementReply,
  Takeover,
  TakeoverReply,
  TransactionEnd,
  TransactionVerdict,
} from '../../core/store.ts'
import { type AttributeValue, bounded, type Item, type TransactWriteRequest } from './client.ts'
import {
  type ChangedRecord,
  type Collector,
  collectorFor,
  type DynamodbTransaction,
  newCollector,
} from './collector.ts'
import {
  asStoreError,
  cancellationReasons,
  type CancellationReason,
  isRefusedEntry,
  reasonAsStoreError,
  wasTriedOnce,
} from './errors.ts'
import { number, recordOf, settledAttributes } from './items.ts'
import { claimedItem } from './requests.ts'
import type { ServerTime } from './server-clock.ts'
import { pause, readItems, type Table } from './verbs.ts'

export interface TransactionHost {
  readonly table: Table
  /** Ids that open transactions of this store have claimed. */
  readonly claimed: Set<RecordId>
  time(): Promise<ServerTime>
}

type Work<Value> = (tx: DynamodbTransaction, records: RecordVerbs) => Promise<TransactionVerdict<Value>>

export async function runTransaction<Value>(
  host: TransactionHost,
  work: Work<Value>,
): Promise<TransactionEnd<Value>> {
  const collector = newCollector()
  const own = new Set<RecordId>()
  const records = verbsOf(host, collector, own)
  try {
    const verdict = await work(collector.tx, records)
    if (verdict.kind === 'roll-back') return { kind: 'rolled-back', value: verdict.value }
    if (!(await settled(records, verdict.settlement))) return { kind: 'refused' }
    collector.close()
    return await commit(host.table, collector, verdict.value)
  } finally {
    collector.close()
    for (const id of own) host.claimed.delete(id)
  }
}

/**
 * The verbs on a transaction that the user sends, or on one of the store's that is open.
 *
 * @throws InvalidOptionError
 */
export function joinedVerbs(host: TransactionHost, tx: unknown): RecordVerbs {
  const collector = collectorFor(tx)
  if (collector === undefined) {
    throw new InvalidOptionError('tx', 'must be a `dynamodbTransaction()`, whose request you send yourself')
  }
  return verbsOf(host, collector, undefined)
}

async function settled(records: RecordVerbs, settlement: Settlement | undefined): Promise<boolean> {
  if (settlement === undefined) return true
  const reply = (await records.settle([settlement])).replies[0] as SettlementReply
  if (reply.kind === 'failed') throw reply.error
  return reply.kind === 'settled'
}

/** @param own the ids that this transaction has locked; `undefined` where its end is not seen, and none is */
function verbsOf(host: TransactionHost, collector: Collector, own: Set<RecordId> | undefined): RecordVerbs {
  const { table, claimed } = host
  const { records } = collector

  async function current(id: RecordId): Promise<Item | undefined> {
    if (records.has(id)) return records.get(id)?.item
    const read = await readItems(table, [id])
    // Another verb of this transaction may have changed it meanwhile.
    return records.get(id)?.item ?? read.get(id)
  }

  function change(id: RecordId, item: Item, seen: ChangedRecord['seen'], time: ServerTime): void {
    collector.checkOpen()
    records.set(id, { table: table.name, item, seen: records.get(id)?.seen ?? seen, time })
  }

  /** Whether another open transaction has claimed the id; if not, this one has now. */
  function isLocked(id: RecordId): boolean {
    if (own === undefined || own.has(id)) return false
    if (claimed.has(id)) return true
    claimed.add(id)
    own.add(id)
    return false
  }

  /** What was found and not taken is nobody's. */
  function unlock(id: RecordId): void {
    if (records.has(id) || own?.delete(id) !== true) return
    claimed.delete(id)
  }

  async function claim(asked: Claim, time: ServerTime): Promise<ClaimReply> {
    const { id } = asked
    const made = claimedItem(asked, time)
    if (isLocked(id)) return { kind: 'locked' }
    try {
      const item = await current(id)
      if (item !== undefined) return { kind: 'found', record: recordOf(item, time.earliest) }
      change(id, made, { kind: 'absent' }, time)
      return { kind: 'claimed' }
    } finally {
      unlock(id)
    }
  }

  async function supersede(takeover: Takeover, time: ServerTime): Promise<TakeoverReply> {
    const { id } = takeover.claim
    const made = claimedItem(takeover.claim, time)
    const isElsewhere = isLocked(id)
    try {
      const item = await current(id)
      const record = item === undefined ? undefined : recordOf(item, time.earliest)
      if (isElsewhere || item === undefined || record === undefined) return { kind: 'refused', record }
      const { reply } = supersedeRecord(record, takeover, time.earliest)
      if (reply.kind === 'refused') return reply
      const kept = { createdAt: item['createdAt'] as AttributeValue, fence: number(reply.fence) }
      const { token, phase } = record
      change(id, { ...made, ...kept }, { kind: 'replaced', token, phase }, time)
      return reply
    } finally {
      if (!isElsewhere) unlock(id)
    }
  }

  async function settle(settlement: Settlement, time: ServerTime): Promise<SettlementReply> {
    const { id, token } = settlement
    const attributes = settledAttributes(settlement, time)
    const item = await current(id)
    const record = item === undefined ? undefined : recordOf(item, time.earliest)
    const { reply } = settleRecord(record, settlement, time.earliest)
    if (reply.kind === 'settled') change(id, { ...item, ...attributes }, { kind: 'held', token }, time)
    return reply
  }

  async function inTurn<Asked, Reply>(
    items: readonly Asked[],
    one: (item: Asked, time: ServerTime) => Promise<Reply>,
  ): Promise<Replies<Reply | { readonly kind: 'failed'; readonly error: StoreError }>> {
    collector.checkOpen()
    const time = await host.time()
    const replies: (Reply | { readonly kind: 'failed'; readonly error: StoreError })[] = []
    for (const item of items) {
      try {
        replies.push(await one(item, time))
      } catch (error) {
        if (!(error instanceof StoreError)) throw error
        replies.push({ kind: 'failed', error })
      }
    }
    return { now: time.earliest, replies }
  }

  return {
    claim: (claims) => inTurn(claims, claim),
    supersede: (takeovers) => inTurn(takeovers, supersede),
    settle: (settlements) => inTurn(settlements, settle),
    async read(ids) {
      collector.checkOpen()
      const time = await host.time()
      const items = await Promise.all(ids.map(current))
      return {
        now: time.earliest,
        replies: items.map((item) => (item === undefined ? undefined : recordOf(item, time.earliest))),
      }
    },
  }
}

/** A commit that meets another transaction, or no capacity, is sent again as it is. */
const triesMax = 6
const pauseMsFirst = 20

/** @throws StoreError, or the SDK's own error, when the transaction certainly did not commit */
async function commit<Value>(
  { client }: Table,
  collector: Collector,
  value: Value,
): Promise<TransactionEnd<Value>> {
  const request = collector.tx.request()
  if (request.TransactItems.length === 0) return { kind: 'committed', value }
  for (let tries = 1; ; tries++) {
    try {
      await client.transactWriteItems(request, bounded())
      return { kind: 'committed', value }
    } catch (error) {
      const end = endOf(error, request, collector)
      if (end.kind === 'committed') return { kind: 'committed', value }
      if (end.kind === 'refused') return end
      if (end.kind === 'unknown') return { kind: 'unknown', value, error: end.error }
      if (end.kind === 'failed' || tries === triesMax) throw end.error
      await pause(pauseMsFirst * 2 ** (tries - 1))
    }
  }
}

type CommitFailure =
  | { readonly kind: 'committed' }
  | { readonly kind: 'refused' }
  | { readonly kind: 'unknown'; readonly error: StoreError }
  /** Nothing happened; `again`: and the same request may go through. */
  | { readonly kind: 'failed'; readonly error: unknown }
  | { readonly kind: 'again'; readonly error: unknown }

function endOf(error: unknown, request: TransactWriteRequest, collector: Collector): CommitFailure {
  const reasons = cancellationReasons(error)
  if (reasons !== undefined) return endOfCancelled(error, reasons, request, collector)
  // What is wrong with an entry of the user's, or its table, shows best in the server's own words.
  if (isRefusedEntry(error)) return { kind: 'failed', error }
  const failure = asStoreError(error)
  if (!(failure instanceof StoreError)) return { kind: 'failed', error: failure }
  // A try before the last one may have been applied.
  const isDefinite =
    failure.failure === 'transient' || (failure.failure === 'permanent' && wasTriedOnce(error))
  if (!isDefinite) return { kind: 'unknown', error: failure }
  return { kind: failure.failure === 'transient' ? 'again' : 'failed', error: failure }
}

const conditionCode = 'ConditionalCheckFailed'

function endOfCancelled(
  error: unknown,
  reasons: readonly CancellationReason[],
  request: TransactWriteRequest,
  collector: Collector,
): CommitFailure {
  const users = collector.userEntries()
  const refusals = reasons.flatMap((reason, at) =>
    at >= users && reason.Code === conditionCode ? [{ reason, at }] : [],
  )
  if (refusals.length > 0) {
    const isApplied = refusals.every(({ reason, at }) =>
      isOwn(reason.Item, request.TransactItems[at]?.Put?.Item),
    )
    return isApplied ? { kind: 'committed' } : { kind: 'refused' }
  }
  const codes = reasons.flatMap(({ Code: code }) => (code === undefined || code === 'None' ? [] : [code]))
  const failures = codes.filter((code) => code !== conditionCode).map(reasonAsStoreError)
  const isTransient =
    failures.length === codes.length && failures.every(({ failure }) => failure === 'transient')
  const [first] = failures
  return isTransient && first !== undefined ? { kind: 'again', error: first } : { kind: 'failed', error }
}

/** The record that refused is the one that was to be written: an earlier send had been applied. */
function isOwn(found: unknown, written: Item | undefined): boolean {
  const item = found as Item | undefined
  return item?.['token']?.S === written?.['token']?.S && item?.['phase']?.S === written?.['phase']?.S
}
