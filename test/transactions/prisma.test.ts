import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { PrismaMariaDb } from '@prisma/adapter-mariadb'
import { PrismaPg } from '@prisma/adapter-pg'
import { expect, test } from 'vitest'
import { prismaTransactions } from '../../src/transactions/prisma.ts'
import { describeTransactions } from './contract.ts'
import { generateClient } from './prisma-client.ts'
import type { Dialect, Subject } from './subject.ts'

/** What these tests use of the generated client. */
interface Client extends Tx {
  $transaction(queries: never, options?: never): Promise<unknown>
  $transaction<Value>(work: (tx: Tx) => Promise<Value>, options?: object): Promise<Value>
  $disconnect(): Promise<void>
}

interface Tx {
  $queryRawUnsafe(text: string, ...values: unknown[]): Promise<unknown>
  $executeRawUnsafe(text: string, ...values: unknown[]): Promise<number>
  readonly order: { create(call: { data: { customer: string } }): Promise<{ id: number }> }
}

async function open(dialect: Dialect, url: string): Promise<Subject<Tx>> {
  const generated = generateClient(dialect === 'postgres' ? 'postgresql' : 'mysql')
  const { PrismaClient } = (await import(join(generated.folder, 'client/client.ts'))) as {
    PrismaClient: new (options: object) => Client
  }
  const adapter =
    dialect === 'postgres'
      ? new PrismaPg({ connectionString: url })
      : new PrismaMariaDb(url.replace('mysql:', 'mariadb:'))
  const prisma = new PrismaClient({ adapter, transactionOptions: { maxWait: 5_000, timeout: 20_000 } })
  return {
    opener: prismaTransactions(prisma, dialect),
    insertOrder: async (tx, customer) => (await tx.order.create({ data: { customer } })).id,
    conflict: (tx) => tx.$queryRawUnsafe('SELECT conflict()'),
    savepoint: async (tx, work) => await (tx as Client).$transaction(work),
    close: async () => {
      await prisma.$disconnect()
      generated.remove()
    },
  }
}

describeTransactions('prisma', 'postgres', (url) => open('postgres', url))
describeTransactions('prisma', 'mysql', (url) => open('mysql', url))

const typed = `
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { type PgPool, postgresStore } from '../../src/stores/postgres.ts'
import { fromPrisma, prismaTransactions } from '../../src/transactions/prisma.ts'
import type { Prisma, PrismaClient } from './client/client.ts'

declare const pool: PgPool
declare const prisma: PrismaClient
const store = postgresStore({ pool, transactions: prismaTransactions(prisma) })
const idem = createIdempotency({ store })
const order = idem.transaction('order', async (input: { customer: string }, { tx }) => {
  fromPrisma(tx)
  type Same = typeof tx extends Prisma.TransactionClient
    ? Prisma.TransactionClient extends typeof tx ? true : false
    : false
  const same: Same = true
  // @ts-expect-error: the model has no such field
  await tx.order.create({ data: { nobody: 1 } })
  return { same, made: await tx.order.create({ data: input }) }
})
const { value } = await order.run({ key: 'k', principal: 'p', input: { customer: 'ada' } })
const id: number = value.made.id
export { id }
`

test('handlers get the transaction client of the generated client', () => {
  const { folder, remove } = generateClient('postgresql')
  const root = resolve(import.meta.dirname, '../..')
  const compilerOptions = { isolatedDeclarations: false, declaration: false }
  const config = { extends: '../../tsconfig.json', compilerOptions, include: ['typed.ts'] }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config))
  writeFileSync(join(folder, 'typed.ts'), typed)
  const tsc = spawnSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', folder], {
    encoding: 'utf8',
  })
  remove()
  expect(tsc.stdout).toBe('')
  expect(tsc.status).toBe(0)
})
