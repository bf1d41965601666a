/**
 * A transaction as a list: DynamoDB has no open transactions, only one request that writes all of its entries or
 * none. What was read before is no lock, so every entry carries the condition under which it holds.
 */
import { InvalidOptionError, StoreError } from '../../core/errors.ts'
import type { RecordId } from '../../core/record.ts'
import type { Item, TransactWriteItem, TransactWriteRequest } from './client.ts'
import { string } from './items.ts'
import { recordEntry, type Seen } from './requests.ts'
import type { ServerTime } from './server-clock.ts'

/** What a handler writes through: entries that commit together with the record. */
export interface DynamodbTransaction {
  /**
   * Adds entries to the transaction, at most 99 in all. Nothing is sent before the handler has resolved. A condition
   * of an entry that is not met undoes everything and comes out as the SDK's own `TransactionCanceledException`,
   * whose `CancellationReasons` begin with these entries, in their order.
   *
   * @throws InvalidOptionError when an entry is none, or one too many
   * @throws StoreError `permanent` when the transaction has ended
   * @example
   * tx.write({ Put: { TableName: 'orders', Item: { id: { S: id } }, ConditionExpression: 'attribute_not_exists(id)' } })
   */
  write(...entries: readonly TransactWriteItem[]): void
}

/** A transaction that the user sends: for `within`. */
export interface DynamodbOwnTransaction extends DynamodbTransaction {
  /**
   * All entries, the user's and those of records, as the input of `client.transactWriteItems`.
   *
   * @example
   * if (!replayed) await client.transactWriteItems(tx.request())
   */
  request(): TransactWriteRequest
}

/** A record that the transaction writes. */
export interface ChangedRecord {
  readonly table: string
  readonly item: Item
  /** What must still be there. */
  readonly seen: Seen
  /** When it was last changed. */
  readonly time: ServerTime
}

/** Both sides of a transaction: the entries of the user and the records. */
export interface Collector {
  readonly tx: DynamodbOwnTransaction
  /** In the order in which they were first changed. */
  readonly records: Map<RecordId, ChangedRecord>
  userEntries(): number
  /** Refuses whatever comes after. */
  close(): void
  checkOpen(): void
}

const entriesMax = 99
const kinds = ['Put', 'Update', 'Delete', 'ConditionCheck'] as const

const collectors = new WeakMap<object, Collector>()

/** What is behind a `tx`; `undefined` when it is none. */
export function collectorFor(tx: unknown): Collector | undefined {
  return typeof tx === 'object' && tx !== null ? collectors.get(tx) : undefined
}

export function newCollector(): Collector {
  const entries: TransactWriteItem[] = []
  const records: Collector['records'] = new Map()
  const number = serial++
  let isClosed = false
  const checkOpen = (): void => {
    if (isClosed) throw new StoreError('permanent', 'This transaction has ended.')
  }
  const tx: DynamodbOwnTransaction = {
    write(...given): void {
      checkOpen()
      for (const entry of given) {
        checkEntry(entry)
        if (entries.length === entriesMax) {
          throw new InvalidOptionError('tx.write', `takes at most ${entriesMax} entries in one transaction`)
        }
        entries.push(entry)
      }
    },
    request(): TransactWriteRequest {
      const puts = [...records.values()].map(({ item, seen, time, table }) => ({
        Put: recordEntry(table, item, seen, time),
      }))
      const TransactItems = [...entries, ...puts]
      const token = requestToken(records, number)
      return token === undefined ? { TransactItems } : { TransactItems, ClientRequestToken: token }
    },
  }
  const collector: Collector = {
    tx,
    records,
    userEntries: () => entries.length,
    close: (): void => void (isClosed = true),
    checkOpen,
  }
  collectors.set(tx, collector)
  return collector
}

function checkEntry(entry: TransactWriteItem): void {
  const given = typeof entry === 'object' && entry !== null ? (entry as Record<string, unknown>) : {}
  const named = kinds.filter((kind) => typeof given[kind] === 'object' && given[kind] !== null)
  if (named.length !== 1) {
    throw new InvalidOptionError('tx.write', `takes entries that each hold one of ${kinds.join(', ')}`)
  }
}

/** Tells the transactions of one token apart: the same request token with other entries would be refused. */
let serial = 0

/** By this token, which is this process's own, the server knows a request that the SDK sends again. */
function requestToken(records: Collector['records'], number: number): string | undefined {
  const [first] = records.values()
  return first === undefined ? undefined : `${string(first.item, 'token')}-${number.toString(36)}`
}
