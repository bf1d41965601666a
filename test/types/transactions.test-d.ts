/** Handlers get the transaction of the ORM by its own type. Prisma's is made by a generator: see its own test. */
import type { MikroORM as MariadbORM, SqlEntityManager } from '@mikro-orm/mariadb'
import type { EntityManager as MikroormManager, MikroORM } from '@mikro-orm/postgresql'
import type { ExtractTablesWithRelations } from 'drizzle-orm'
import type { MySql2Database } from 'drizzle-orm/mysql2'
import type { NodePgDatabase, NodePgTransaction } from 'drizzle-orm/node-postgres'
import type { PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import type { Knex } from 'knex'
import type { Kysely, Transaction as KyselyTransaction } from 'kysely'
import type { Sequelize, Transaction as SequelizeTransaction } from 'sequelize'
import type { DataSource, EntityManager as TypeormManager } from 'typeorm'
import { expectTypeOf, test } from 'vitest'
import type { SqlTransaction, TransactionOpener } from '../../src/core/sql.ts'
import type { Idempotency } from '../../src/engine/idempotency.ts'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { type PgPool, postgresStore } from '../../src/stores/postgres.ts'
import { drizzleTransactions, fromDrizzle } from '../../src/transactions/drizzle.ts'
import { fromKnex, knexTransactions } from '../../src/transactions/knex.ts'
import { fromKysely, kyselyTransactions } from '../../src/transactions/kysely.ts'
import { fromMikroorm, mikroormTransactions } from '../../src/transactions/mikroorm.ts'
import { fromSequelize, sequelizeTransactions } from '../../src/transactions/sequelize.ts'
import { fromTypeorm, typeormTransactions } from '../../src/transactions/typeorm.ts'

declare const pool: PgPool

/** What a handler gets as `tx`. */
function instanceWith<Tx>(transactions: TransactionOpener<Tx>): Idempotency<Tx> {
  return createIdempotency({ store: postgresStore({ pool, transactions }) })
}

type Input = Readonly<{ customer: string }>

test('Drizzle', () => {
  type Schema = Record<string, never>
  type Tx = NodePgTransaction<Schema, ExtractTablesWithRelations<Schema>>
  const db = {} as NodePgDatabase<Schema>
  instanceWith(drizzleTransactions(db)).transaction('order', async (_: Input, { tx }) => {
    expectTypeOf(tx.insert).toEqualTypeOf<Tx['insert']>()
    expectTypeOf(tx.rollback).toEqualTypeOf<() => never>()
    expectTypeOf(fromDrizzle(tx)).toEqualTypeOf<SqlTransaction>()
  })
  const overPostgresJs = drizzleTransactions({} as PostgresJsDatabase)
  expectTypeOf(overPostgresJs.join).parameter(0).toHaveProperty('rollback')
  const overMysql = drizzleTransactions({} as MySql2Database, 'mysql')
  expectTypeOf(overMysql.join).parameter(0).toHaveProperty('rollback')
})

test('Kysely', () => {
  interface Tables {
    orders: { id: number; customer: string }
  }
  const db = {} as Kysely<Tables>
  instanceWith(kyselyTransactions(db)).transaction('order', async (_: Input, { tx }) => {
    expectTypeOf(tx).toEqualTypeOf<KyselyTransaction<Tables>>()
    expectTypeOf(fromKysely(tx)).toEqualTypeOf<SqlTransaction>()
  })
})

test('Knex', () => {
  const db = {} as Knex
  instanceWith(knexTransactions(db)).transaction('order', async (_: Input, { tx }) => {
    expectTypeOf(tx).toEqualTypeOf<Knex.Transaction>()
    expectTypeOf(fromKnex(tx)).toEqualTypeOf<SqlTransaction>()
  })
})

test('TypeORM', () => {
  const dataSource = {} as DataSource
  instanceWith(typeormTransactions(dataSource)).transaction('order', async (_: Input, { tx }) => {
    expectTypeOf(tx).toEqualTypeOf<TypeormManager>()
    expectTypeOf(fromTypeorm(tx)).toEqualTypeOf<SqlTransaction>()
  })
})

test('MikroORM', () => {
  const orm = {} as MikroORM
  instanceWith(mikroormTransactions(orm.em)).transaction('order', async (_: Input, { tx }) => {
    expectTypeOf(tx).toExtend<MikroormManager>()
    expectTypeOf(tx).toEqualTypeOf<typeof orm.em>()
    expectTypeOf(fromMikroorm(tx)).toEqualTypeOf<SqlTransaction>()
  })
  const mariadb = {} as MariadbORM
  const opener = mikroormTransactions(mariadb.em, 'mysql')
  expectTypeOf(opener.join).parameter(0).toExtend<SqlEntityManager>()
})

test('Sequelize', () => {
  const sequelize = {} as Sequelize
  instanceWith(sequelizeTransactions(sequelize)).transaction('order', async (_: Input, { tx }) => {
    expectTypeOf(tx).toEqualTypeOf<SequelizeTransaction>()
    expectTypeOf(fromSequelize(tx)).toEqualTypeOf<SqlTransaction>()
  })
})
