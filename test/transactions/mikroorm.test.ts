import { EntitySchema } from '@mikro-orm/core'
import { MikroORM as MariadbORM } from '@mikro-orm/mariadb'
import { MikroORM } from '@mikro-orm/postgresql'
import { mikroormTransactions } from '../../src/transactions/mikroorm.ts'
import { describeTransactions, type Subject } from './contract.ts'

interface Order {
  id: number
  customer: string
}

const Order = new EntitySchema<Order>({
  name: 'Order',
  tableName: 'orders',
  properties: { id: { type: 'integer', primary: true, autoincrement: true }, customer: { type: 'string' } },
})

async function openPostgres(clientUrl: string) {
  const orm = await MikroORM.init({ clientUrl, entities: [Order] })
  return {
    opener: mikroormTransactions(orm.em.fork()),
    insertOrder: async (em, customer) => {
      const order = em.create(Order, { customer } as Order)
      await em.flush()
      return order.id
    },
    savepoint: (em, work) => em.transactional(work),
    close: () => orm.close(),
  } satisfies Subject<typeof orm.em>
}

async function openMariadb(clientUrl: string) {
  const orm = await MariadbORM.init({ clientUrl, entities: [Order] })
  return {
    opener: mikroormTransactions(orm.em.fork(), 'mysql'),
    insertOrder: async (em, customer) => {
      const order = em.create(Order, { customer } as Order)
      await em.flush()
      return order.id
    },
    savepoint: (em, work) => em.transactional(work),
    close: () => orm.close(),
  } satisfies Subject<typeof orm.em>
}

describeTransactions('mikroorm', 'postgres', openPostgres)
describeTransactions('mikroorm', 'mysql', openMariadb)
