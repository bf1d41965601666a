/** On the emulator. Time passes by moving the host's clocks and the server's `Date` together. */
import { test } from 'vitest'
import { type DynamodbOwnTransaction, dynamodbTransaction } from '../../src/stores/dynamodb.ts'
import { storeConformance } from '../../src/verification/index.ts'
import { hasDynamodb } from '../servers.ts'
import { openShop, type Shop } from './dynamodb-shop.ts'

let shop: Shop

if (!hasDynamodb) test.skip('DynamoDB [not tested: no emulator]', () => undefined)
else
  storeConformance({
    name: 'dynamodb on moto',
    test,
    joinsTransaction: true,
    async advance(ms): Promise<void> {
      shop.skew.hostMs += ms
      shop.skew.serverMs += ms
    },
    async open() {
      shop = await openShop()
      const { client, store } = shop
      return {
        store,
        business: {
          write: async (tx, text) => shop.order(tx as DynamodbOwnTransaction, text),
          written: () => shop.ordered(),
          async begin() {
            const tx = dynamodbTransaction()
            return {
              tx,
              commit: async () => void (await client.transactWriteItems(tx.request())),
              rollBack: async () => {},
            }
          },
        },
        dispose: () => shop.close(),
      }
    },
  })
