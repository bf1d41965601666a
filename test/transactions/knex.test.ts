import knex, { type Knex } from 'knex'
import { expect, test } from 'vitest'
import { InvalidOptionError } from '../../src/core/errors.ts'
import { fromKnex, knexTransactions } from '../../src/transactions/knex.ts'
import { hasPostgres, postgresDatabase } from '../servers.ts'
import { describeTransactions } from './contract.ts'
import type { Subject } from './subject.ts'

function subjectOf(client: 'pg' | 'mysql2', connection: string): Subject<Knex.Transaction> {
  const db = knex({ client, connection, pool: { min: 0, max: 2 } })
  return {
    opener: knexTransactions(db),
    insertOrder: async (tx, customer) => {
      const insert = tx('orders').insert({ customer })
      const [made] = client === 'pg' ? await insert.returning('id') : await insert
      return typeof made === 'object' ? made.id : made
    },
    conflict: async (tx) => await tx.raw('SELECT conflict()'),
    savepoint: (tx, work) => tx.transaction(work),
    close: () => db.destroy(),
  }
}

describeTransactions('knex', 'postgres', (url) => subjectOf('pg', url))
describeTransactions('knex', 'mysql', (url) => subjectOf('mysql2', url))

test('a question mark behind a backslash cannot be said to Knex and is refused', async ({ skip }) => {
  skip(!hasPostgres, 'no server of postgres')
  const db = knex({ client: 'pg', connection: await postgresDatabase() })
  const refused = db.transaction((tx) => fromKnex(tx).query("SELECT '\\?'", []))
  await expect(refused).rejects.toThrow(InvalidOptionError)
  await db.destroy()
})
