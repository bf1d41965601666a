import { join } from 'node:path'
import { PrismaMariaDb } from '@prisma/adapter-mariadb'
import { PrismaPg } from '@prisma/adapter-pg'
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
