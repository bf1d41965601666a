/** A table of records and one of orders on the emulator, with a client whose requests can be counted. */
import type { DynamoDB, DynamoDBClientConfig } from '@aws-sdk/client-dynamodb'
import { onTestFinished } from 'vitest'
import {
  type DynamodbStore,
  type DynamodbStoreOptions,
  type DynamodbTransaction,
  dynamodbStore,
  type HostClock,
} from '../../src/stores/dynamodb.ts'
import { dynamodbTable } from '../servers.ts'
import { clientOf } from './dynamodb-client.ts'

export { clientOf, credentials } from './dynamodb-client.ts'

/** Names of the operations that a client sends from now on, in their order; each try counts. */
export function sentBy(client: DynamoDB): string[] {
  const sent: string[] = []
  client.middlewareStack.add(
    (next) => async (args) => {
      const { headers } = args.request as { headers: Record<string, string> }
      sent.push(headers['x-amz-target']?.split('.')[1] ?? '')
      return await next(args)
    },
    { step: 'deserialize', priority: 'low' },
  )
  return sent
}

/** Time that a test moves: what the host's clocks and the `Date` of the server's answers are ahead by. */
export interface Skew {
  /** Of the monotonic clock and the wall clock of the host. */
  hostMs: number
  /** Of the wall clock of the host alone. */
  wallMs: number
  /** Of the server. */
  serverMs: number
}

export function noSkew(): Skew {
  return { hostMs: 0, wallMs: 0, serverMs: 0 }
}

export function clockWith(skew: Skew): HostClock {
  return {
    monotonic: () => performance.now() + skew.hostMs,
    now: () => Date.now() + skew.hostMs + skew.wallMs,
  }
}

/** Makes the answers that a client gets show another time. */
export function skewAnswers(client: DynamoDB, skew: Skew): void {
  const handler = client.config.requestHandler
  const handle = handler.handle.bind(handler)
  handler.handle = async (...args: Parameters<typeof handle>) => {
    const answer = await handle(...args)
    const { headers } = answer.response
    headers['date'] = new Date(Date.parse(headers['date'] ?? '') + skew.serverMs).toUTCString()
    return answer
  }
}

export interface Shop {
  readonly client: DynamoDB
  readonly store: DynamodbStore
  readonly table: string
  /** Of orders. */
  readonly orders: string
  readonly endpoint: string
  readonly skew: Skew
  order(tx: DynamodbTransaction, text: string): void
  ordered(): Promise<string[]>
  /** Another process: a client and a store of its own on the same tables. */
  another(options?: Partial<DynamodbStoreOptions>, config?: DynamoDBClientConfig): DynamodbStore
  close(): Promise<void>
}

export async function openShop(config: DynamoDBClientConfig = {}): Promise<Shop> {
  const { endpoint, table } = dynamodbTable()
  const skew = noSkew()
  const client = clientOf(endpoint, config)
  skewAnswers(client, skew)
  const store = dynamodbStore({ client, table, migrate: 'auto', clock: clockWith(skew) })
  await store.ready()
  const orders = `${table}-orders`
  // What a test does beside the store goes over a connection of its own.
  const aside = clientOf(endpoint)
  await aside.createTable({
    TableName: orders,
    KeySchema: [{ AttributeName: 'text', KeyType: 'HASH' }],
    AttributeDefinitions: [{ AttributeName: 'text', AttributeType: 'S' }],
    BillingMode: 'PAY_PER_REQUEST',
  })
  const others: { client: DynamoDB; store: DynamodbStore }[] = []
  return {
    client,
    store,
    table,
    orders,
    endpoint,
    skew,
    order(tx, text): void {
      tx.write({ Put: { TableName: orders, Item: { text: { S: text } } } })
    },
    async ordered(): Promise<string[]> {
      const { Items: items = [] } = await aside.scan({ TableName: orders, ConsistentRead: true })
      return items.map(({ text }) => text?.S ?? '').sort()
    },
    another(options = {}, other = config): DynamodbStore {
      const its = clientOf(endpoint, other)
      const made = dynamodbStore({ client: its, table, ...options })
      others.push({ client: its, store: made })
      return made
    },
    async close(): Promise<void> {
      await Promise.all([store, ...others.map((other) => other.store)].map((each) => each.close()))
      for (const each of [client, aside, ...others.map((other) => other.client)]) each.destroy()
    },
  }
}

/** A shop that goes with its test. */
export async function shopOfTest(config: DynamoDBClientConfig = {}): Promise<Shop> {
  const shop = await openShop(config)
  onTestFinished(() => shop.close())
  return shop
}
