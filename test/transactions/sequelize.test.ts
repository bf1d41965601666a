import { DataTypes, Sequelize, type Transaction } from 'sequelize'
import { expect, test } from 'vitest'
import { InvalidOptionError } from '../../src/core/errors.ts'
import { fromSequelize, sequelizeTransactions } from '../../src/transactions/sequelize.ts'
import { describeTransactions } from './contract.ts'
import type { Subject } from './subject.ts'

function subjectOf(url: string, dialectOptions: object = {}): Subject<Transaction> {
  const sequelize = new Sequelize(url, { logging: false, pool: { max: 2 }, dialectOptions })
  const Order = sequelize.define(
    'Order',
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      customer: { type: DataTypes.STRING },
    },
    { tableName: 'orders', timestamps: false },
  )
  return {
    opener: sequelizeTransactions(sequelize),
    insertOrder: async (transaction, customer) => {
      const made = await Order.create({ customer }, { transaction })
      return made.get('id') as number
    },
    conflict: (transaction) => sequelize.query('SELECT conflict()', { transaction }),
    savepoint: (transaction, work) => sequelize.transaction({ transaction }, work),
    close: () => sequelize.close(),
  }
}

describeTransactions('sequelize', 'postgres', subjectOf)
describeTransactions('sequelize with mysql2', 'mysql', subjectOf)
describeTransactions('sequelize with mariadb', 'mysql', (url) =>
  subjectOf(url.replace('mysql:', 'mariadb:'), { foundRows: true }),
)

test('what is no transaction of Sequelize is refused', () => {
  const other = { commit: async () => {}, rollback: async () => {} }
  expect(() => fromSequelize(other)).toThrow(InvalidOptionError)
})
