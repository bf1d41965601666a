import { EntitySchema } from '@mikro-orm/core'
import { MikroORM as MariadbORM } from '@mikro-orm/mariadb'
import { MikroORM } from '@mikro-orm/postgresql'
import { expect, test } from 'vitest'
import { InvalidOptionError } from '../../src/core/errors.ts'
import { fromMikroorm, mikroormTransactions } from '../../src/transactions/mikroorm.ts'
import { hasPostgres, postgresDatabase } from '../servers.ts'
import { describeTransactions } from './contract.ts'
import type { Subject } from './subject.ts'

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
    conflict: (em) => em.execute('SELECT conflict()'),
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
    conflict: (em) => em.execute('SELECT conflict()'),
    savepoint: (em, work) => em.transactional(work),
    close: () => orm.close(),
  } satisfies Subject<typeof orm.em>
}

describeTransactions('mikroorm', 'postgres', openPostgres)
describeTransactions('mikroorm', 'mysql', openMariadb)

test('an entity manager outside any transaction is refused', async ({ skip }) => {
  skip(!hasPostgres, 'no server of postgres')
  const orm = await MikroORM.init({ clientUrl: await postgresDatabase(), entities: [Order] })
  expect(() => fromMikroorm(orm.em.fork())).toThrow(InvalidOptionError)
  await orm.close()
})

test('what is not flushed yet commits and rolls back with the statements of the store', async ({ skip }) => {
  skip(!hasPostgres, 'no server of postgres')
  const orm = await MikroORM.init({ clientUrl: await postgresDatabase(), entities: [Order] })
  await orm.schema.create()
  await orm.em.execute('CREATE TABLE notes (note text)')
  const opener = mikroormTransactions(orm.em.fork())
  const run = (customer: string | null) =>
    opener.transaction(async (em) => {
      em.create(Order, { customer } as Order)
      await opener.join(em).query('INSERT INTO notes (note) VALUES ($1)', [customer])
    })
  await run('ada')
  await expect(run(null)).rejects.toThrow()
  expect(await orm.em.execute('SELECT note FROM notes')).toEqual([{ note: 'ada' }])
  expect(await orm.em.fork().count(Order)).toBe(1)
  await orm.close()
})
