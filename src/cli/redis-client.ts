/** A client of Redis or Valkey, of the library that the user has, set so that calls fail soon while it is away. */
import { isIP } from 'node:net'
import type { RedisAddress } from '../gateway/redis-address.ts'
import type { RedisClient } from '../stores/redis.ts'
import { loadFirst } from './database-client.ts'

export interface RedisLink {
  readonly client: RedisClient
  /** Resolves with the first connection, rejects when it fails; the client goes on trying all the same. */
  readonly connected: Promise<void>
  /** Any command; answers as the library gives them. */
  command(...args: readonly string[]): Promise<unknown>
  close(): void
}

/** A connection that has been silent for so long while something was asked is given up. */
const silentMsMax = 3_000
const connectMsMax = 3_000
const reconnectMsMax = 1_000

/**
 * Connects, and again whenever the connection is lost.
 *
 * @param name of its connections, as CLIENT LIST shows it
 * @throws CommandError where no client library is installed
 */
export function connectRedis(address: RedisAddress, name: string): RedisLink {
  const { name: packageName, library } = loadFirst(['ioredis', 'iovalkey', 'redis'])
  return packageName === 'redis' ? ofNodeRedis(library, address, name) : ofIoredis(library, address, name)
}

const reconnectMs = (attempts: number): number => Math.min(reconnectMsMax, 20 * 2 ** Math.min(attempts, 10))

function ofIoredis(Redis: any, address: RedisAddress, name: string): RedisLink {
  const { tls, host, port, username, password, database } = address
  const client = new Redis({
    ...{ host, port, username, password, db: database, connectionName: name },
    ...(tls ? { tls: { servername: serverName(host) } } : {}),
    ...{ connectTimeout: connectMsMax, socketTimeout: silentMsMax, retryStrategy: reconnectMs },
    // What waits for a connection waits for two attempts: the engine knows what may be sent again.
    maxRetriesPerRequest: 1,
  })
  return {
    client,
    connected: firstConnection(client),
    command: (...args) => client.call(...args),
    close: () => client.disconnect(),
  }
}

function ofNodeRedis(library: any, address: RedisAddress, name: string): RedisLink {
  const { tls, host, port, username, password, database } = address
  const client = library.createClient({
    ...{ username, password, database, name, disableOfflineQueue: true },
    socket: {
      ...{ host, port, tls, connectTimeout: connectMsMax, reconnectStrategy: reconnectMs },
      ...(tls ? { servername: serverName(host) } : {}),
      // It counts idle time too, so something is asked before it is over.
      socketTimeout: silentMsMax,
    },
    pingInterval: silentMsMax / 3,
  })
  const connected = firstConnection(client)
  client.connect().catch(ignore)
  return {
    client,
    connected,
    command: (...args) => client.sendCommand(args),
    // Release 4 knows no destroy.
    close() {
      if (typeof client.destroy === 'function') client.destroy()
      else client.disconnect().catch(ignore)
    },
  }
}

/** Names only: an IP address is no server name of TLS. */
function serverName(host: string): string | undefined {
  return isIP(host) === 0 ? host : undefined
}

function firstConnection(client: any): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  client.once('ready', resolve)
  // Each failure is an event, at which a process without a listener ends.
  client.on('error', reject)
  client.once('close', () => reject(new Error('The connection was closed.')))
  promise.catch(ignore)
  return promise
}

const ignore = (): void => {}
