import knex, { type Knex } from 'knex'
import { knexTransactions } from '../../src/transactions/knex.ts'
import { describeTransactions, type Subject } from './contract.ts'

function subjectOf(client: 'pg' | 'mysql2', connection: string): Subject<Knex.Transaction> {
  const db = knex({ client, connection, pool: { min: 0, max: 2 } })
  return {
    opener: knexTransactions(db),
    insertOrder: async (tx, customer) => {
      const [made] = await tx('orders').insert({ customer }).returning('id')
      return typeof made === 'number' ? made : made.id
    },
    savepoint: (tx, work) => tx.transaction(work),
    close: () => db.destroy(),
  }
}

describeTransactions('knex', 'postgres', (url) => subjectOf('pg', url))
describeTransactions('knex', 'mysql', (url) => subjectOf('mysql2', url))
