/** Databases of a run's own: servers that may be ended without a checkpoint, and a file. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import mysql from 'mysql2/promise'
import type { Dialect } from '../../src/cli/chaos/protocol.ts'
import { MortalMariadb } from '../stores/mortal-mariadb.ts'
import { MortalPostgres } from '../stores/mortal-postgres.ts'
import { MortalRedis } from '../stores/mortal-redis.ts'

export interface ChaosTarget {
  readonly dialect: Dialect
  readonly address: string
  /** Ends the server at once and starts it again. */
  restart?(): Promise<void>
  dispose(): Promise<void>
}

/** @param persists whether Redis saves anything: each write, before it is answered */
export async function targetOf(dialect: Dialect, persists = true): Promise<ChaosTarget> {
  switch (dialect) {
    case 'postgres': {
      const server = await MortalPostgres.make()
      return {
        dialect,
        address: server.url,
        async restart() {
          await server.stopAtOnce()
          await server.start()
        },
        dispose: () => server.dispose(),
      }
    }
    case 'mysql': {
      const server = await MortalMariadb.make()
      const connection = await mysql.createConnection(server.url)
      await connection.query('CREATE DATABASE chaos')
      await connection.end()
      const address = new URL(server.url)
      address.pathname = '/chaos'
      return {
        dialect,
        address: address.href,
        async restart() {
          await server.kill()
          await server.start()
        },
        dispose: () => server.dispose(),
      }
    }
    case 'sqlite': {
      const folder = mkdtempSync(join(tmpdir(), 'retrysafe-chaos-'))
      return {
        dialect,
        address: join(folder, 'chaos.db'),
        dispose: async () => rmSync(folder, { recursive: true, force: true }),
      }
    }
    case 'redis': {
      const server = await MortalRedis.make({ persists })
      return {
        dialect,
        address: server.url,
        async restart() {
          await server.kill()
          await server.start()
        },
        dispose: () => server.dispose(),
      }
    }
    default:
      return dialect satisfies never
  }
}
