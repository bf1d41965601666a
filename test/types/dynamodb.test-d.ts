/** The SDK's client and types fit the store's own, and handlers get a `tx` that takes the SDK's entries. */
import {
  DynamoDB,
  type DynamoDBClient,
  type TransactWriteItem,
  type TransactWriteItemsCommandInput,
} from '@aws-sdk/client-dynamodb'
import { expectTypeOf, test } from 'vitest'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import {
  type DynamodbTransaction,
  dynamodbStore,
  dynamodbTransaction,
  type TransactWriteRequest,
} from '../../src/stores/dynamodb.ts'

type Input = Readonly<{ id: string }>

test('DynamoDB', () => {
  const client = new DynamoDB({})
  const idem = createIdempotency({ store: dynamodbStore({ client }) })
  idem.transaction('order', async ({ id }: Input, { tx, fence }) => {
    expectTypeOf(tx).toEqualTypeOf<DynamodbTransaction>()
    expectTypeOf(fence).toEqualTypeOf<number>()
    tx.write({ Put: { TableName: 'orders', Item: { id: { S: id }, count: { N: '1' } } } })
    tx.write({ Delete: { TableName: 'orders', Key: { id: { S: id } } } })
    const entry = {} as TransactWriteItem
    tx.write(entry)
    // @ts-expect-error a value has a kind
    tx.write({ Put: { TableName: 'orders', Item: { id } } })
    // @ts-expect-error an update says what it does
    tx.write({ Update: { TableName: 'orders', Key: { id: { S: id } } } })
    return { id }
  })
  // @ts-expect-error a client with `send` alone
  dynamodbStore({ client: {} as DynamoDBClient })
})

test('a transaction of the user’s', () => {
  const tx = dynamodbTransaction()
  expectTypeOf(tx.request()).toExtend<TransactWriteItemsCommandInput>()
  expectTypeOf<TransactWriteRequest>().toExtend<TransactWriteItemsCommandInput>()
  const idem = createIdempotency({ store: dynamodbStore({ client: new DynamoDB({}) }) })
  void idem.within(tx, { operation: 'order', key: 'k', principal: 'p', input: 1 }, () => 1)
})
