import { DataTypes, Sequelize, type Transaction } from 'sequelize'
import { sequelizeTransactions } from '../../src/transactions/sequelize.ts'
import { describeTransactions, type Subject } from './contract.ts'

function subjectOf(url: string): Subject<Transaction> {
  const sequelize = new Sequelize(url, { logging: false, pool: { max: 2 } })
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
    savepoint: (transaction, work) => sequelize.transaction({ transaction }, work),
    close: () => sequelize.close(),
  }
}

describeTransactions('sequelize', 'postgres', subjectOf)
describeTransactions('sequelize', 'mysql', subjectOf)
