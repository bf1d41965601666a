/** A store on each client library, each with a prefix of its own, and what ends it. */
import { Redis as Upstash } from '@upstash/redis'
import { Cluster, Redis } from 'ioredis'
import { Redis as Ioredis5 } from 'ioredis-5'
import { Cluster as IovalkeyCluster, Redis as Iovalkey } from 'iovalkey'
import { createClient, createCluster } from 'redis'
import { createClient as createClient4 } from 'redis-4'
import { createClient as createClient5 } from 'redis-5'
import {
  type RedisClient,
  type RedisStore,
  redisStore,
  type RedisStoreOptions,
} from '../../src/stores/redis.ts'
import { newPrefix, redisClusterUrl, redisUrl } from '../servers.ts'
import { startUpstashShim } from './upstash-shim.ts'

export interface OpenedClient {
  readonly client: RedisClient
  close(): Promise<void> | void
}

const [host, clusterPort] = ['127.0.0.1', Number(URL.parse(redisClusterUrl)?.port ?? 0)]

/** By what a reader of the documentation would call them. */
export const redisClients: Readonly<Record<string, () => Promise<OpenedClient>>> = {
  ioredis: async () => {
    const client = new Redis(redisUrl)
    return { client, close: () => client.disconnect() }
  },
  'ioredis, auto-pipelining': async () => {
    const client = new Redis(redisUrl, { enableAutoPipelining: true })
    return { client, close: () => client.disconnect() }
  },
  'ioredis 5': async () => {
    const client = new Ioredis5(redisUrl)
    return { client, close: () => client.disconnect() }
  },
  'ioredis, cluster': async () => {
    const client = new Cluster([{ host, port: clusterPort }])
    return { client, close: () => client.disconnect() }
  },
  iovalkey: async () => {
    const client = new Iovalkey(redisUrl)
    return { client, close: () => client.disconnect() }
  },
  'iovalkey, cluster': async () => {
    const client = new IovalkeyCluster([{ host, port: clusterPort }])
    return { client, close: () => client.disconnect() }
  },
  redis: async () => {
    const client = await createClient({ url: redisUrl }).connect()
    return { client, close: () => client.destroy() }
  },
  'redis 5': async () => {
    const client = await createClient5({ url: redisUrl }).connect()
    return { client, close: () => client.destroy() }
  },
  'redis 4': async () => {
    const client = await createClient4({ url: redisUrl }).connect()
    return { client, close: () => client.disconnect() }
  },
  'redis, RESP2': async () => {
    const client = await createClient({ url: redisUrl, RESP: 2 }).connect()
    return { client, close: () => client.destroy() }
  },
  'redis, cluster': async () => {
    const client = createCluster({ rootNodes: [{ url: redisClusterUrl }] })
    await client.connect()
    return { client, close: () => client.destroy() }
  },
  '@upstash/redis': async () => {
    const shim = await startUpstashShim(redisUrl)
    const client = new Upstash({ url: shim.url, token: shim.token, enableTelemetry: false, retry: false })
    return { client, close: () => shim.close() }
  },
}

/** A store on a new client. */
export async function openRedisStore(
  library: string,
  options: Partial<RedisStoreOptions> = {},
): Promise<{ readonly store: RedisStore; close(): Promise<void> }> {
  const open = redisClients[library]
  if (open === undefined) throw new Error(`There is no client library ${library}.`)
  const { client, close } = await open()
  const store = redisStore({ client, prefix: newPrefix(), ...options })
  return {
    store,
    async close(): Promise<void> {
      await store.close()
      await close()
    },
  }
}
