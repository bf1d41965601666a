/** A server that answers, but not what was asked: none of its errors is taken for an absent key, or for a claim. */
import { mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Redis } from 'ioredis'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { clientOf } from './redis-replicas.ts'
import { eventually } from '../eventually.ts'
import { hasRedis } from '../servers.ts'
import { counted, type Runs } from './counted-operation.ts'
import { MortalRedis } from './mortal-redis.ts'

// Each is asked for as long as a claim is sent again.
vi.setConfig({ testTimeout: 30_000 })

interface Trouble {
  readonly answer: string
  begin(admin: Redis): Promise<unknown>
  end(admin: Redis): Promise<unknown>
  /** Whether what is done can still be read. */
  readonly reads: boolean
}

const neverEnds = 'while true do end'

const troubles: readonly Trouble[] = [
  {
    answer: 'OOM',
    begin: (admin) => admin.config('SET', 'maxmemory', '1'),
    end: (admin) => admin.config('SET', 'maxmemory', '0'),
    reads: true,
  },
  {
    answer: 'MISCONF',
    async begin(admin) {
      // The folder of its snapshots goes away.
      const folder = mkdtempSync(join(tmpdir(), 'retrysafe-gone-'))
      await admin.config('SET', 'dir', folder)
      rmdirSync(folder)
      await admin.config('SET', 'save', '3600 1')
      await admin.bgsave()
      await eventually(async () =>
        expect(await admin.info('persistence')).toContain('rdb_last_bgsave_status:err'),
      )
    },
    end: (admin) => admin.config('SET', 'save', ''),
    reads: true,
  },
  {
    answer: 'READONLY',
    begin: (admin) => admin.replicaof('127.0.0.1', 1),
    end: (admin) => admin.replicaof('NO', 'ONE'),
    reads: true,
  },
  {
    answer: 'MASTERDOWN',
    async begin(admin) {
      await admin.config('SET', 'replica-serve-stale-data', 'no')
      await admin.replicaof('127.0.0.1', 1)
    },
    end: (admin) => admin.replicaof('NO', 'ONE'),
    reads: false,
  },
  {
    answer: 'BUSY',
    async begin(admin) {
      await admin.config('SET', 'busy-reply-threshold', '1')
      const other = admin.duplicate()
      other.on('error', () => {})
      onTestFinished(() => other.disconnect())
      other.eval(neverEnds, 0).catch(() => {})
      await eventually(() => expect(admin.get('any')).rejects.toThrow('BUSY'))
    },
    end: (admin) => admin.call('SCRIPT', 'KILL'),
    reads: false,
  },
  {
    answer: 'NOPERM',
    begin: (admin) => admin.call('ACL', 'SETUSER', 'default', '-set'),
    end: (admin) => admin.call('ACL', 'SETUSER', 'default', '+set'),
    reads: true,
  },
]

describe.runIf(hasRedis)('a server that is not well', () => {
  test.each(troubles)('$answer', async ({ begin, end, reads }) => {
    const server = await MortalRedis.make({
      persists: false,
      // The folder of its snapshots may be changed.
      settings: ['--enable-protected-configs', 'yes'],
    })
    onTestFinished(() => server.dispose())
    const admin = clientOf(server)
    const runs: Runs = new Map()
    const { ask } = counted(clientOf(server), runs)
    expect(await ask('done')).toBe('done, run 1')

    await begin(admin)
    expect(await Promise.all([ask('done'), ask('new')])).toEqual([
      reads ? 'done, run 1' : 'store-unavailable',
      'store-unavailable',
    ])
    expect(runs).toEqual(new Map([['done', 1]]))

    await end(admin)
    expect(await Promise.all([ask('done'), ask('new')])).toEqual(['done, run 1', 'new, run 1'])
  })
})
