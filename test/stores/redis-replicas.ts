/** Servers of Redis that follow another one, and sentinels that watch them. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { onTestFinished } from 'vitest'
import {
  endServer,
  freePort,
  newFolder,
  type RunningServer,
  spawnServer,
  untilAnswers,
} from '../../scripts/servers/process.ts'
import { pingRedis, redisProgram } from '../../scripts/servers/redis.ts'
import { MortalRedis } from './mortal-redis.ts'

/** A server whose replicas do not wait for each other at their start. It ends with the test. */
export async function startMaster(): Promise<MortalRedis> {
  const master = await MortalRedis.make({ settings: ['--repl-diskless-sync-delay', '0'] })
  onTestFinished(() => master.dispose())
  return master
}

/** A replica that has all that its master had so far. It ends with the test. */
export async function startReplica(of: { readonly port: number }): Promise<MortalRedis> {
  const replica = await MortalRedis.make({ settings: ['--replicaof', '127.0.0.1', `${of.port}`] })
  onTestFinished(() => replica.dispose())
  const client = clientOf(replica)
  while (!(await client.info('replication')).includes('master_link_status:up')) {
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return replica
}

/** @param lines of its configuration, into which it writes itself */
export async function startSentinel(lines: readonly string[]): Promise<RunningServer> {
  const port = await freePort()
  const folder = newFolder('sentinel', undefined)
  const file = join(folder, 'sentinel.conf')
  writeFileSync(file, [`port ${port}`, 'bind 127.0.0.1', `dir ${folder}`, ...lines, ''].join('\n'))
  const shell = spawnServer(redisProgram(), [file, '--sentinel'], undefined, 'KILL')
  const stop = (): Promise<void> => endServer(shell, folder)
  onTestFinished(stop)
  await untilAnswers(shell, () => pingRedis(port))
  return { url: `redis://127.0.0.1:${port}`, port, stop }
}

/** A client that outlives its server, and gives up what it is asked soon. It ends with the test. */
export function clientOf({ port }: { readonly port: number }): Redis {
  const client = new Redis(port, { maxRetriesPerRequest: 1, retryStrategy: () => 50 })
  client.on('error', () => {})
  onTestFinished(() => client.disconnect())
  return client
}
