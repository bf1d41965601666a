import { DataSource, type EntityManager, EntitySchema } from 'typeorm'
import { typeormTransactions } from '../../src/transactions/typeorm.ts'
import { describeTransactions, type Subject } from './contract.ts'

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
    savepoint: (tx, work) => tx.transaction(work),
    close: () => dataSource.destroy(),
  }
}

describeTransactions('typeorm', 'postgres', (url) => open('postgres', url))
describeTransactions('typeorm', 'mysql', (url) => open('mariadb', url))
