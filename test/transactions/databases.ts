import { randomUUID } from 'node:crypto'
import mysql from 'mysql2/promise'
import pg from 'pg'
const fresh = (): string => `t${randomUUID().replaceAll('-', '')}`
export async function postgresUrl(): Promise<string> {
  const name = fresh()
  const client = new pg.Client('postgres://postgres@127.0.0.1:54411/tx')
  await client.connect()
  await client.query(`CREATE DATABASE ${name}`)
  await client.end()
  return `postgres://postgres@127.0.0.1:54411/${name}`
}
export async function mariadbUrl(): Promise<string> {
  const name = fresh()
  const client = await mysql.createConnection('mysql://t:t@127.0.0.1:33411/tx')
  await client.query(`CREATE DATABASE ${name}`)
  await client.end()
  return `mysql://t:t@127.0.0.1:33411/${name}`
}
