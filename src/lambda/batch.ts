/**
 * Batches of records: SQS, Kinesis and DynamoDB streams. Each record is claimed, run and settled by itself, and the
 * ones that must come again are named in the answer (`ReportBatchItemFailures`).
 */
import { InvalidOptionError, isIdempotencyError } from '../core/errors.ts'
import { asOperationResult, type AttemptResult, type OperationRun } from '../engine/operation.ts'
import {
  type BatchRecord,
  comparedOf,
  groupOf,
  itemIdentifierOf,
  type KeyOfRecord,
  recordKeyReader,
} from './batch-record.ts'
import { abortBeforeMsOf, Invocation, type LambdaContext } from './invocation.ts'
import { type CallOptions, type LambdaEngine, protectedCall } from './protected-call.ts'

/** What the event source deletes or sends again by. */
export interface BatchResponse {
  batchItemFailures: { itemIdentifier: string }[]
}

/** A record that will be delivered again. */
export interface RecordFailure<Record> {
  readonly record: Record
  /** The handler's own error, or a coded one; `undefined` for a record that waits for an earlier one of its group. */
  readonly error: unknown
}

/** Options of `idempotentBatch`. By default the record's content makes two calls the same. */
export interface BatchOptions<Record> extends Omit<CallOptions<Record, void>, 'reconcile'> {
  /**
   * The key: a message attribute, a member of the JSON body (`'order.id'`), or a function of the record. Default: the
   * record's own id, which tells two deliveries of one message and not two messages about one thing.
   */
  readonly key?: KeyOfRecord<Record>
  /** Records of one batch that run at a time; those of one group or one shard never do. Default 10. */
  readonly concurrency?: number
  /** Told of every record that will come again. Default: one line on the console, without the record's content. */
  readonly onFailure?: (failure: RecordFailure<Record>) => void
}

const concurrencyDefault = 10
const concurrencyMax = 1_000

/**
 * Runs a handler once for each record of a batch, and reports the records that failed, are in progress elsewhere or
 * have an unknown outcome. In a FIFO queue the rest of a group is reported with the record that failed, in a stream
 * the rest of the batch, so that the order holds. Records for which too little time is left are reported unstarted.
 *
 * The event source mapping must have `ReportBatchItemFailures` on: without it Lambda takes every answer for a whole
 * success.
 *
 * @throws InvalidOptionError at construction
 * @example
 * export const handler = idempotentBatch(
 *   idem,
 *   { operation: 'ship', principal: 'anonymous', key: { body: 'orderId' } },
 *   async (record: SQSRecord) => ship(JSON.parse(record.body)),
 * )
 */
export function idempotentBatch<Record extends BatchRecord, Context extends LambdaContext = LambdaContext>(
  idem: LambdaEngine,
  options: BatchOptions<Record>,
  handler: (record: Record, context: Context, run: OperationRun) => unknown,
): (event: { readonly Records: readonly Record[] }, context: Context) => Promise<BatchResponse> {
  const ownNames = ['key', 'concurrency', 'onFailure']
  const call = protectedCall<Record, void>(idem, 'idempotentBatch', options, ownNames, comparedOf)
  const keyOf = recordKeyReader<Record>(options.key)
  const { concurrency = concurrencyDefault, onFailure = logFailure } = options
  if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > concurrencyMax) {
    throw new InvalidOptionError(
      'concurrency',
      `must be a whole number from 1 to ${concurrencyMax}`,
      concurrency,
    )
  }
  const abortBeforeMs = abortBeforeMsOf(options)

  return async ({ Records: records }, context) => {
    const invocation = new Invocation(context, abortBeforeMs)
    const failed = new Set<Record>()
    const fail = (record: Record, error: unknown): void => {
      failed.add(record)
      onFailure({ record, error })
    }
    const run = async (record: Record): Promise<boolean> => {
      try {
        if (invocation.isEnding) throw new DOMException('The invocation is about to end.', 'TimeoutError')
        // Nobody reads the value of a record.
        const ended = await call.attempt(record, keyOf(record), invocation, async (attempt) => {
          await handler(record, context, attempt)
        })
        if (!isDone(ended)) asOperationResult(ended)
        return true
      } catch (error) {
        fail(record, error)
        return false
      }
    }
    const runGroup = async (group: readonly Record[]): Promise<void> => {
      for (const [at, record] of group.entries()) {
        if (await run(record)) continue
        for (const later of group.slice(at + 1)) fail(later, undefined)
        return
      }
    }
    try {
      await eachOf(groupsOf(records), concurrency, runGroup)
    } finally {
      invocation.end()
    }
    const reported = records.filter((record) => failed.has(record))
    return { batchItemFailures: reported.map((record) => ({ itemIdentifier: itemIdentifierOf(record) })) }
  }
}

/** A tombstone is left by a record that was done long ago. */
function isDone({ kind }: AttemptResult<void>): boolean {
  return kind === 'executed' || kind === 'replayed' || kind === 'expired'
}

/** Records that must keep their order, together; every other one by itself. */
function groupsOf<Record extends BatchRecord>(records: readonly Record[]): Record[][] {
  const ordered = new Map<string, Record[]>()
  const groups: Record[][] = []
  for (const record of records) {
    const name = groupOf(record)
    const group = name === undefined ? undefined : ordered.get(name)
    if (group !== undefined) {
      group.push(record)
      continue
    }
    const started = [record]
    groups.push(started)
    if (name !== undefined) ordered.set(name, started)
  }
  return groups
}

async function eachOf<Item>(
  items: readonly Item[],
  concurrency: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const rest = items.values()
  const worker = async (): Promise<void> => {
    for (const item of rest) await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(concurrency, items.length) }, worker))
}

function logFailure({ record, error }: RecordFailure<BatchRecord>): void {
  const id = itemIdentifierOf(record)
  if (error === undefined) console.error(`Record ${id} waits for an earlier one of its group.`)
  else if (isIdempotencyError(error)) console.error(`Record ${id} must come again: ${error.code}.`)
  else console.error(`Record ${id} failed.`, error)
}
