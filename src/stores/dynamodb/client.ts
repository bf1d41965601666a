/** What the store uses of `new DynamoDB(..)` of `@aws-sdk/client-dynamodb`, as structural types. */
import { InvalidOptionError } from '../../core/errors.ts'

interface Values {
  S: string
  N: string
  B: Uint8Array
  SS: string[]
  NS: string[]
  BS: Uint8Array[]
  M: Record<string, AttributeValue>
  L: AttributeValue[]
  NULL: boolean
  BOOL: boolean
  /** What the SDK makes of a kind that it does not know. */
  $unknown: [string, unknown]
}

/** A value as the SDK has it: one of these and none of the others. */
export type AttributeValue = {
  [Kind in keyof Values]: { [Own in Kind]: Values[Own] } & {
    [Other in Exclude<keyof Values, Kind>]?: never
  }
}[keyof Values]

export type Item = Record<string, AttributeValue>

/** What conditions, updates and filters have in common. */
interface Expressions {
  readonly TableName: string | undefined
  readonly ConditionExpression?: string | undefined
  readonly ExpressionAttributeNames?: Record<string, string> | undefined
  readonly ExpressionAttributeValues?: Item | undefined
  readonly ReturnValuesOnConditionCheckFailure?: 'ALL_OLD' | 'NONE' | undefined
}

export interface PutRequest extends Expressions {
  readonly Item: Item | undefined
}

export interface UpdateRequest extends Expressions {
  readonly Key: Item | undefined
  readonly UpdateExpression?: string | undefined
  readonly ReturnValues?: 'ALL_NEW' | 'ALL_OLD' | 'NONE' | 'UPDATED_NEW' | 'UPDATED_OLD' | undefined
}

export interface DeleteRequest extends Expressions {
  readonly Key: Item | undefined
}

/** One entry of a TransactWriteItems request, as the SDK has it: one of the four is there. */
export interface TransactWriteItem {
  readonly Put?: PutRequest | undefined
  readonly Update?:
    | (Omit<UpdateRequest, 'ReturnValues'> & { readonly UpdateExpression: string | undefined })
    | undefined
  readonly Delete?: DeleteRequest | undefined
  readonly ConditionCheck?: (DeleteRequest & { readonly ConditionExpression: string | undefined }) | undefined
}

export interface TransactWriteRequest {
  readonly TransactItems: TransactWriteItem[]
  readonly ClientRequestToken?: string | undefined
}

export interface KeysToGet {
  readonly Keys: Item[] | undefined
  readonly ConsistentRead?: boolean | undefined
}

interface SendOptions {
  readonly abortSignal?: AbortSignal
}

interface KeySchemaElement {
  readonly AttributeName: string | undefined
  readonly KeyType: 'HASH' | 'RANGE' | undefined
}

interface AttributeDefinition {
  readonly AttributeName: string | undefined
  readonly AttributeType: 'S' | 'N' | 'B' | undefined
}

/** What DescribeTable says of a table. */
export interface TableDescription {
  readonly TableStatus?: string | undefined
  readonly KeySchema?: readonly KeySchemaElement[] | undefined
  readonly AttributeDefinitions?: readonly AttributeDefinition[] | undefined
}

/** A step of the SDK's way from the wire, which sees an answer before it is parsed. */
export type AnswerMiddleware = (
  next: (args: never) => Promise<{ readonly response: unknown }>,
) => (args: never) => Promise<{ readonly response: unknown }>

export interface MiddlewareStack {
  add(middleware: never, options: { readonly step: 'deserialize'; readonly priority: 'low' }): void
  remove(middleware: never): boolean
}

/** The methods of `new DynamoDB(..)` that the store calls. */
export interface DynamodbClient {
  putItem(input: PutRequest, options?: SendOptions): Promise<unknown>
  updateItem(input: UpdateRequest, options?: SendOptions): Promise<{ readonly Attributes?: Item | undefined }>
  deleteItem(input: DeleteRequest, options?: SendOptions): Promise<unknown>
  getItem(
    input: { readonly TableName: string; readonly Key: Item; readonly ConsistentRead: true },
    options?: SendOptions,
  ): Promise<{ readonly Item?: Item | undefined }>
  batchGetItem(
    input: { readonly RequestItems: Record<string, KeysToGet> },
    options?: SendOptions,
  ): Promise<{
    readonly Responses?: Record<string, Item[]> | undefined
    readonly UnprocessedKeys?: Record<string, KeysToGet> | undefined
  }>
  scan(
    input: {
      readonly TableName: string
      readonly ConsistentRead: true
      readonly Limit?: number
      readonly ExclusiveStartKey?: Item | undefined
      readonly ProjectionExpression?: string
      readonly ExpressionAttributeNames?: Record<string, string>
    },
    options?: SendOptions,
  ): Promise<{ readonly Items?: Item[] | undefined; readonly LastEvaluatedKey?: Item | undefined }>
  transactWriteItems(input: TransactWriteRequest, options?: SendOptions): Promise<unknown>
  describeTable(
    input: { readonly TableName: string },
    options?: SendOptions,
  ): Promise<{ readonly Table?: TableDescription | undefined }>
  createTable(
    input: {
      readonly TableName: string
      readonly KeySchema: KeySchemaElement[]
      readonly AttributeDefinitions: AttributeDefinition[]
      readonly BillingMode: 'PAY_PER_REQUEST'
    },
    options?: SendOptions,
  ): Promise<unknown>
  describeTimeToLive(
    input: { readonly TableName: string },
    options?: SendOptions,
  ): Promise<{
    readonly TimeToLiveDescription?:
      | { readonly TimeToLiveStatus?: string | undefined; readonly AttributeName?: string | undefined }
      | undefined
  }>
  updateTimeToLive(
    input: {
      readonly TableName: string
      readonly TimeToLiveSpecification: { readonly Enabled: true; readonly AttributeName: string }
    },
    options?: SendOptions,
  ): Promise<unknown>
  /** Where it is there, the server's clock is read from its answers. */
  readonly middlewareStack?: MiddlewareStack
}

const methods = [
  'putItem',
  'updateItem',
  'deleteItem',
  'getItem',
  'batchGetItem',
  'scan',
  'transactWriteItems',
  'describeTable',
  'createTable',
  'describeTimeToLive',
  'updateTimeToLive',
] as const satisfies readonly (keyof DynamodbClient)[]

/**
 * Refuses what is no aggregated client.
 *
 * @throws InvalidOptionError
 */
export function checkClient(client: unknown): asserts client is DynamodbClient {
  const rule = 'must be `new DynamoDB(..)` of @aws-sdk/client-dynamodb'
  if (typeof client !== 'object' || client === null) throw new InvalidOptionError('client', rule, client)
  const given = client as Record<string, unknown>
  const missing = methods.find((name) => typeof given[name] !== 'function')
  if (missing === undefined) return
  if (typeof given['send'] === 'function') {
    throw new InvalidOptionError('client', `${rule}: a client with \`send\` alone has no \`${missing}\``)
  }
  throw new InvalidOptionError('client', `${rule}: it has no \`${missing}\``)
}

/** Longer than the engine waits for a verb would leave requests behind that nobody looks at. */
const requestMsMax = 4_500

/** Bounds a request with all of its tries: the SDK's own default is to wait for ever. */
export function bounded(): SendOptions {
  return { abortSignal: AbortSignal.timeout(requestMsMax) }
}
