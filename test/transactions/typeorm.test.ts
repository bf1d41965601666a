import { DataSource, type EntityManager, EntitySchema } from 'typeorm'
import { expect, test } from 'vitest'
import { InvalidOptionError } from '../../src/core/errors.ts'
import { fromTypeorm, typeormTransactions } from '../../src/transactions/typeorm.ts'
import { hasPostgres, postgresDatabase } from '../servers.ts'
import { describeTransactions } from './contract.ts'
import type { Subject } from './subject.ts'

interface Order {
  id: number
  customer: string
}

const Order = new EntitySchema<Order>({
  name: 'orders',
  columns: { id: { type: Number, primary: true, generated: true }, customer: { type: String } },
})

async function open(type: 'postgres' | 'mysql' | 'mariadb', url: string): Promise<Subject<EntityManager>> {
  const dataSource = new DataSource({ type, url, entities: [Order] })
  await dataSource.initialize()
  return {
    opener: typeormTransactions(dataSource),
    insertOrder: async (tx, customer) => (await tx.save(Order, { customer })).id,
    conflict: (tx) => tx.query('SELECT conflict()'),
    savepoint: (tx, work) => tx.transaction(work),
    close: () => dataSource.destroy(),
  }
}

describeTransactions('typeorm', 'postgres', (url) => open('postgres', url))
describeTransactions('typeorm', 'mysql', (url) => open('mariadb', url))

test('a manager outside any transaction is refused', async ({ skip }) => {
  skip(!hasPostgres, 'no server of postgres')
  const dataSource = new DataSource({ type: 'postgres', url: await postgresDatabase(), entities: [Order] })
  await dataSource.initialize()
  expect(() => fromTypeorm(dataSource.manager)).toThrow(InvalidOptionError)
  const queryRunner = dataSource.createQueryRunner()
  expect(() => fromTypeorm(queryRunner.manager)).toThrow(InvalidOptionError)
  await queryRunner.startTransaction()
  const { rows } = await fromTypeorm(queryRunner.manager).query('SELECT $1::int AS one', [1])
  expect(rows).toEqual([{ one: 1 }])
  await queryRunner.rollbackTransaction()
  await queryRunner.release()
  await dataSource.destroy()
})
