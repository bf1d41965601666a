/**
 * Servers for tests and benches: real ones, and an emulator of DynamoDB. An address in the environment wins; else
 * what the machine has is started; else, as root on Debian, it is installed first. Each server has a folder and a
 * port of its own, keeps its durable defaults, and goes with the process that started it.
 *
 *   npm run servers    starts them, prints their addresses and stays until it is stopped
 */
import { pathToFileURL } from 'node:url'
import { startDynamodb } from './servers/dynamodb.ts'
import { startMariadb } from './servers/mariadb.ts'
import { startPostgres } from './servers/postgres.ts'
import type { RunningServer } from './servers/process.ts'
import { startRedis, startRedisCluster } from './servers/redis.ts'

export type { RunningServer } from './servers/process.ts'
export { startDynamodb } from './servers/dynamodb.ts'
export { startMariadb } from './servers/mariadb.ts'
export { startPgbouncer } from './servers/pgbouncer.ts'
export { startPostgres } from './servers/postgres.ts'

export type ServerName = 'postgres' | 'mariadb' | 'redis' | 'redis_cluster' | 'dynamodb'

export const serverNames: readonly ServerName[] = [
  'postgres',
  'mariadb',
  'redis',
  'redis_cluster',
  'dynamodb',
]

/** A server that tests may use, or why there is none. */
export type Provided =
  | { readonly kind: 'server'; readonly url: string; stop(): Promise<void> }
  | { readonly kind: 'none'; readonly reason: string; stop(): Promise<void> }

const starters: Readonly<Record<ServerName, () => Promise<RunningServer>>> = {
  postgres: startPostgres,
  mariadb: startMariadb,
  redis: startRedis,
  redis_cluster: startRedisCluster,
  dynamodb: startDynamodb,
}

/**
 * The server of that name.
 *
 * @throws Error when it cannot be had although `RETRYSAFE_REQUIRE_SERVERS` is `1`
 */
export async function provideServer(name: ServerName): Promise<Provided> {
  const url = process.env[`RETRYSAFE_${name.toUpperCase()}_URL`]
  if (url !== undefined && url !== '') return { kind: 'server', url, stop: async () => {} }
  try {
    const server = await starters[name]()
    return { kind: 'server', url: server.url, stop: () => server.stop() }
  } catch (error) {
    if (process.env['RETRYSAFE_REQUIRE_SERVERS'] === '1') throw error
    const reason = error instanceof Error ? error.message : String(error)
    return { kind: 'none', reason, stop: async () => {} }
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const provided = await Promise.all(serverNames.map(provideServer))
  for (const [at, server] of provided.entries()) {
    const name = serverNames[at] as ServerName
    if (server.kind === 'server') console.log(`export RETRYSAFE_${name.toUpperCase()}_URL=${server.url}`)
    else console.log(`# ${name}: ${server.reason}`)
  }
  const stop = (): void => {
    void Promise.all(provided.map((server) => server.stop())).then(() => process.exit(0))
  }
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  setInterval(() => {}, 60_000)
}
