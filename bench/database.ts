/** A database of a bench's own on a real PostgreSQL. */
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { provideServer } from '../scripts/servers.ts'

export async function withPostgres<Value>(work: (url: string) => Promise<Value>): Promise<Value> {
  const server = await provideServer('postgres')
  if (server.kind === 'none') throw new Error(`There is no PostgreSQL: ${server.reason}`)
  const name = `bench_${randomUUID().slice(0, 8)}`
  const admin = new pg.Pool({ connectionString: server.url, max: 1 })
  try {
    await admin.query(`CREATE DATABASE ${name}`)
    const url = new URL(server.url)
    url.pathname = `/${name}`
    return await work(url.href)
  } finally {
    await admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
    await admin.end()
    await server.stop()
  }
}
