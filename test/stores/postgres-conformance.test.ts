import { describe } from 'vitest'
import { postgresDatabase } from '../servers.ts'
import { conformanceOfPg, conformanceOfPostgresJs } from './postgres-clients.ts'

const url = await postgresDatabase()

describe('pg', () => conformanceOfPg(url))
describe('postgres.js', () => conformanceOfPostgresJs(url))
