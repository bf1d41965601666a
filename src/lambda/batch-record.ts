/** What a batch needs of its records: their keys, what is compared, their order, and how they are reported. */
import { InvalidOptionError } from '../core/errors.ts'
import { type KeySource, keyReader, memberAt, present } from './key-source.ts'

/** A message of SQS. */
export interface SqsRecord {
  readonly messageId: string
  readonly body: string
  readonly attributes: { readonly MessageGroupId?: string | undefined }
  readonly messageAttributes: Readonly<Record<string, { readonly stringValue?: string | undefined }>>
  readonly eventSourceARN: string
}

/** A record of a Kinesis stream. */
export interface KinesisRecord {
  readonly eventID: string
  readonly eventSourceARN: string
  readonly kinesis: { readonly sequenceNumber: string; readonly data: string }
}

/** A change in a DynamoDB stream. */
export interface DynamodbStreamRecord {
  readonly eventID?: string | undefined
  readonly eventName?: string | undefined
  readonly eventSourceARN?: string | undefined
  readonly dynamodb?:
    | {
        readonly SequenceNumber?: string | undefined
        readonly Keys?: object | undefined
        readonly NewImage?: object | undefined
        readonly OldImage?: object | undefined
      }
    | undefined
}

/** A record of a batch. */
export type BatchRecord = SqsRecord | KinesisRecord | DynamodbStreamRecord

/** Where in a record the key stands. `attribute` and `body` are of SQS. */
export type KeyOfRecord<Record> =
  | { readonly attribute: string }
  /** The path of a member of the JSON body. */
  | { readonly body: string }
  | ((record: Record) => string | undefined)

/** @throws InvalidOptionError */
export function recordKeyReader<Record extends BatchRecord>(
  key: KeyOfRecord<Record> | undefined,
): (record: Record) => string {
  if (key === undefined) return ownId
  if (typeof key === 'function') return keyReader('key', key)
  if (typeof key === 'object' && key !== null) {
    if ('attribute' in key && typeof key.attribute === 'string') {
      const { attribute } = key
      return (record) => present(memberAt(record, ['messageAttributes', attribute, 'stringValue']))
    }
    if ('body' in key) {
      const inBody = keyReader('key.body', key.body as KeySource<unknown>)
      return (record) => inBody(JSON.parse((record as SqsRecord).body))
    }
  }
  throw new InvalidOptionError('key', "must be { attribute: 'name' }, { body: 'path' } or a function", key)
}

function ownId(record: BatchRecord): string {
  return present('messageId' in record ? record.messageId : record.eventID)
}

/** The content, without what differs between two deliveries. */
export function comparedOf(record: BatchRecord): unknown {
  if ('messageId' in record) return record.body
  if ('kinesis' in record) return record.kinesis.data
  const { Keys, NewImage, OldImage } = record.dynamodb ?? {}
  return { name: record.eventName, Keys, NewImage, OldImage }
}

/**
 * The group whose order must hold, `undefined` for none. A group id on a standard queue is for fairness and says
 * nothing of order. The records of a stream's batch are of one shard.
 */
export function groupOf(record: BatchRecord): string | undefined {
  if (!('messageId' in record)) return record.eventSourceARN ?? ''
  return record.eventSourceARN.endsWith('.fifo') ? record.attributes.MessageGroupId : undefined
}

/** What the event source wants to be told for a record that must come again. */
export function itemIdentifierOf(record: BatchRecord): string {
  if ('messageId' in record) return record.messageId
  return ('kinesis' in record ? record.kinesis.sequenceNumber : record.dynamodb?.SequenceNumber) ?? ''
}
