/** Redis or Valkey of a run, seen from the side. Nothing there tells of changes, so records are not watched. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { failure } from '../failure.ts'
import { parseRedisAddress, type RedisAddress } from '../../gateway/redis-address.ts'
import { asStoreError } from '../../stores/redis/errors.ts'
import { connectRedis } from '../redis-client.ts'
import type { ChaosDatabase, LedgerRow } from './contract.ts'
import { openElsewhere } from './elsewhere.ts'
import { redisClientName, redisPrefix, tables } from './protocol.ts'

/** @throws Error when it is no address; commands have looked before */
export function readAddress(address: string): RedisAddress {
  const read = parseRedisAddress(address)
  if ('rule' in read) throw new Error(`The address ${read.rule}.`)
  return read
}

/**
 * @param ledgerSql makes the ledger's table
 * @param asLedgerRow reads a row of it
 */
export function onRedis(
  address: string,
  ledgerSql: string,
  asLedgerRow: (row: Record<string, unknown>) => LedgerRow,
): ChaosDatabase {
  const link = connectRedis(readAddress(address), `${redisClientName}_run`)
  const folder = mkdtempSync(join(tmpdir(), 'retrysafe-chaos-'))
  const elsewhere = join(folder, 'ledger.db')
  const ledger = openElsewhere(elsewhere)

  /** Never FLUSHALL: the server may hold what is not ours. */
  async function clear(): Promise<void> {
    let cursor = '0'
    do {
      const answer = await link.command('SCAN', cursor, 'MATCH', `${redisPrefix}*`, 'COUNT', '500')
      const [next, keys] = answer as [string, string[]]
      if (keys.length > 0) await link.command('UNLINK', ...keys)
      cursor = String(next)
    } while (cursor !== '0')
  }

  return {
    elsewhere,
    async prepare() {
      try {
        await link.connected
        await clear()
      } catch (error) {
        throw failure(asStoreError(error).message)
      }
      ledger.exec(ledgerSql)
    },
    ledger: async () => ledger.prepare(`SELECT * FROM ${tables.ledger}`).all().map(asLedgerRow),
    changes: async () => [],
    async killBackends() {
      const clients = String(await link.command('CLIENT', 'LIST', 'TYPE', 'normal')).split('\n')
      const ours = clients.filter((line) => line.split(' ').includes(`name=${redisClientName}`))
      const ids = ours.flatMap((line) => /^id=(\d+) /.exec(line)?.[1] ?? [])
      for (const id of ids) await link.command('CLIENT', 'KILL', 'ID', id)
      return ids.length
    },
    async dispose() {
      try {
        await clear()
      } catch {
        // The server is gone, or never was there: then nothing of ours is left that does not expire by itself.
      }
      link.close()
      ledger.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
