/** Databases of a test file's own, in the servers that all test files share. */
import { randomUUID } from 'node:crypto'
import mysql from 'mysql2/promise'
import pg from 'pg'
import { inject } from 'vitest'

export const hasPostgres: boolean = inject('servers').postgres !== ''
export const hasMariadb: boolean = inject('servers').mariadb !== ''
export const hasRedis: boolean = inject('servers').redis !== ''

/** The address of the server that all test files share: each test takes a prefix of its own. */
export const redisUrl: string = inject('servers').redis
/** The address of one node of three. */
export const redisClusterUrl: string = inject('servers').redis_cluster

/** A prefix that no other test has. */
export function newPrefix(): string {
  return `${newName()}:`
}
export const hasDynamodb: boolean = inject('servers').dynamodb !== ''

const newName = (): string => `test_${randomUUID().replaceAll('-', '').slice(0, 16)}`

/** The address of a new, empty database. */
export async function postgresDatabase(): Promise<string> {
  const url = new URL(inject('servers').postgres)
  const name = newName()
  const client = new pg.Client({ connectionString: url.href })
  await client.connect()
  await client.query(`CREATE DATABASE ${name}`)
  await client.end()
  url.pathname = `/${name}`
  return url.href
}

/** The address of a new, empty database. */
export function mariadbDatabase(): Promise<string> {
  return databaseOf(inject('servers').mariadb)
}

/** MySQL is on no Debian that the tests install from: it is tested where an address is given. */
const mysqlUrl = process.env['RETRYSAFE_MYSQL_URL'] ?? ''
export const hasMysql: boolean = mysqlUrl !== ''

/** The address of a new, empty database. */
export function mysqlDatabase(): Promise<string> {
  return databaseOf(mysqlUrl)
}

async function databaseOf(server: string): Promise<string> {
  const url = new URL(server)
  const name = newName()
  const connection = await mysql.createConnection(url.href)
  await connection.query(`CREATE DATABASE ${name}`)
  await connection.end()
  url.pathname = `/${name}`
  return url.href
}

/** The address of the emulator, and the name of a table that is not there yet. */
export function dynamodbTable(): { readonly endpoint: string; readonly table: string } {
  return { endpoint: inject('servers').dynamodb, table: newName() }
}
