/** What a server's settings make of an acknowledged key: read at the start, told in one sentence. */
import { InvalidOptionError, StoreError } from '../../core/errors.ts'
import type { RedisConnection } from './client.ts'

/** How durable the server is that a store was started on. */
export interface RedisDurability {
  /** Such as `redis 7.0.15`, or `unknown`. */
  readonly server: string
  /**
   * `none`: nothing is saved. `snapshots`: now and then (RDB). `synced-each-second`, `synced-always`,
   * `synced-by-system`: an append-only file, by `appendfsync`. `append-only`: one, and the server does not say how
   * it is synced. `unknown`: the server tells nothing, as many hosted ones.
   */
  readonly persistence:
    | 'none'
    | 'snapshots'
    | 'synced-each-second'
    | 'synced-always'
    | 'synced-by-system'
    | 'append-only'
    | 'unknown'
  /** Connected replicas. */
  readonly replicas: number
  /** Replicas that each write waits for. */
  readonly minReplicas: number
  /** The server's `maxmemory-policy`. */
  readonly evictionPolicy: string
  /** All of it for people: what survives, and what does not. */
  readonly sentence: string
}

export interface DurabilityOptions {
  readonly minReplicas: number
  /** The policy that the user accepts by its name. */
  readonly acceptedEviction: string | undefined
}

/**
 * Reads the settings of the server, or of one node of a cluster.
 *
 * @throws InvalidOptionError when it may evict records and nobody said that this is accepted
 * @throws StoreError `wrong-node` when it is a replica
 */
export async function readDurability(
  { info: tells, config }: RedisConnection,
  options: DurabilityOptions,
): Promise<RedisDurability> {
  const info = tells === undefined ? new Map<string, string>() : fieldsOf(await tells())
  if (info.get('role') === 'slave') throw new StoreError('wrong-node', 'This server is a read-only replica.')
  const evictionPolicy = info.get('maxmemory_policy') ?? 'unknown'
  checkEviction(evictionPolicy, options.acceptedEviction)
  const replicas = Number(info.get('connected_slaves') ?? 0)
  const persistence = await persistenceOf(info, config)
  const server = serverOf(info)
  const { minReplicas } = options
  const sentence = [
    `Records on ${server}: ${words[persistence]};`,
    `${replicas} ${replicas === 1 ? 'replica' : 'replicas'},`,
    minReplicas === 0
      ? 'none waited for, so that a failover may lose the newest keys;'
      : `${minReplicas} waited for at each write;`,
    'a key that is lost runs again.',
    ...(evictionPolicy === 'noeviction' || evictionPolicy === 'unknown'
      ? []
      : [`The server may evict keys (${evictionPolicy}).`]),
  ].join(' ')
  return { server, persistence, replicas, minReplicas, evictionPolicy, sentence }
}

const words: Readonly<Record<RedisDurability['persistence'], string>> = {
  none: 'nothing is saved, so that a restart of the server loses every key',
  snapshots: 'snapshots only (RDB), so that a crash of the server loses every key since the last one',
  'synced-each-second':
    'an append-only file, synced each second: keys survive a crash of the server, and a power loss but for its last second',
  'synced-always': 'an append-only file, synced at each write: keys survive a crash and a power loss',
  'synced-by-system':
    'an append-only file, synced when the system likes: keys survive a crash of the server, not always a power loss',
  'append-only': 'an append-only file: keys survive a crash of the server',
  unknown: 'it does not tell what it saves',
}

function checkEviction(policy: string, accepted: string | undefined): void {
  if (policy === 'noeviction' || policy === 'unknown' || policy === accepted) return
  throw new InvalidOptionError(
    'client',
    `is of a server that may evict records (maxmemory-policy ${policy}), and what is evicted runs again; ` +
      `set maxmemory-policy noeviction, or accept it with acceptEviction: '${policy}'`,
  )
}

async function persistenceOf(
  info: ReadonlyMap<string, string>,
  config: RedisConnection['config'],
): Promise<RedisDurability['persistence']> {
  const isAppending = info.get('aof_enabled')
  if (isAppending === undefined) return 'unknown'
  if (isAppending === '1') {
    switch (await settingOf(config, 'appendfsync')) {
      case 'always':
        return 'synced-always'
      case 'everysec':
        return 'synced-each-second'
      case 'no':
        return 'synced-by-system'
      default:
        return 'append-only'
    }
  }
  return (await settingOf(config, 'save')) === '' ? 'none' : 'snapshots'
}

/** `undefined` where the server does not tell: hosted ones often have no CONFIG, and an ACL may refuse it. */
async function settingOf(config: RedisConnection['config'], name: string): Promise<string | undefined> {
  try {
    return await config?.(name)
  } catch {
    return undefined
  }
}

function serverOf(info: ReadonlyMap<string, string>): string {
  const valkey = info.get('valkey_version')
  if (valkey !== undefined) return `valkey ${valkey}`
  const redis = info.get('redis_version')
  return redis === undefined ? 'a server that tells nothing of itself' : `redis ${redis}`
}

function fieldsOf(text: string): Map<string, string> {
  const lines = text.split(/\r?\n/).map((line) => line.split(':'))
  return new Map(
    lines.flatMap(([name, ...rest]) =>
      rest.length > 0 && name !== undefined ? [[name, rest.join(':')]] : [],
    ),
  )
}
