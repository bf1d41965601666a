/**
 * Records in Redis or Valkey (6.2 and newer, and what speaks their protocol), one key each. The server's own clock
 * decides. As durable as the server is set, which `ready()` tells.
 */
import { type Duration, toMilliseconds } from '../core/duration.ts'
import { ClosedError, InvalidOptionError, StoreError } from '../core/errors.ts'
import { refuseUnknownOptions } from '../core/options.ts'
import type { IdempotencyRecord, RecordId } from '../core/record.ts'
import type {
  Claim,
  ClaimReply,
  IdempotencyStore,
  ListPage,
  ListQuery,
  Renewal,
  RenewalReply,
  Replies,
  Settlement,
  SettlementReply,
  StoreCapabilities,
  SweepReply,
  Takeover,
  TakeoverReply,
} from '../core/store.ts'
import { connectionOf, type RedisClient, type RedisConnection, type Replicas } from './redis/client.ts'
import { type RedisDurability, readDurability } from './redis/durability.ts'
import { asStoreError } from './redis/errors.ts'
import { readPrefix } from './redis/prefix.ts'
import { type Script, scriptsFor } from './redis/scripts.ts'
import { claim, outcomeBytesMax, read, renew, settle, supersede, type VerbRunner } from './redis/verbs.ts'
import { listPage, sweepAll } from './redis/walk.ts'

export type {
  IoredisClient,
  NodeRedisClient,
  NodeRedisCluster,
  NodeRedisSentinel,
  RedisClient,
  UpstashClient,
} from './redis/client.ts'
export type { RedisDurability } from './redis/durability.ts'
export { redisReplayTier, type RedisReplayTierOptions } from './redis/replay-tier.ts'

export interface RedisStoreOptions {
  /**
   * A client of `ioredis`, `iovalkey` (single, sentinel or cluster), `redis` (the same) or `@upstash/redis`. It
   * stays yours: the store never closes it.
   */
  readonly client: RedisClient
  /** Put before the id of each record: 1 to 64 letters, digits and `_:.-`. Default `'retrysafe:'`. */
  readonly prefix?: string
  /**
   * Replicas that must have each write before it counts (WAIT), so that a failover to one of them loses nothing
   * that was acknowledged. With fewer, the write counts as unanswered: it is sent again, and then refused with
   * `store-unavailable`. WAIT holds up everything else on its connection: give the store a client of its own. Not
   * for cluster clients, node-redis sentinels and Upstash. Default 0.
   */
  readonly minReplicas?: number
  /** How long a write waits for them. Default `'1s'`. */
  readonly replicaTimeout?: Duration
  /**
   * Without it, a server whose `maxmemory-policy` evicts keys is refused: what is evicted runs again. Names the
   * policy that is accepted, such as `'volatile-ttl'`.
   */
  readonly acceptEviction?: string
  /** Called once, with what the server's settings promise. Default: a warning of the process where it saves nothing. */
  readonly onReady?: (durability: RedisDurability) => void
}

export interface RedisStore extends IdempotencyStore {
  /**
   * Asks the server for its settings, so that a wrong address, a missing right or a server that evicts keys shows
   * at the start.
   *
   * @returns what the settings promise, with a sentence for the log
   * @throws StoreError
   * @throws InvalidOptionError when the server is set so that records would not be safe
   */
  ready(): Promise<RedisDurability>
}

const optionNames = ['client', 'prefix', 'minReplicas', 'replicaTimeout', 'acceptEviction', 'onReady']
const minReplicasMax = 100
/** A client that is not connected may keep what it is given for ever. */
const readyMsMax = 5_000

/**
 * A store in Redis or Valkey.
 *
 * @throws InvalidOptionError
 * @example
 * const store = redisStore({ client: new Redis(url) }) // ioredis, iovalkey
 * @example
 * const store = redisStore({ client: await createClient({ url }).connect() }) // redis
 */
export function redisStore(options: RedisStoreOptions): RedisStore {
  refuseUnknownOptions('redisStore', options, optionNames)
  const { client, prefix = 'retrysafe:', minReplicas = 0, replicaTimeout = '1s', acceptEviction } = options
  if (!Number.isInteger(minReplicas) || minReplicas < 0 || minReplicas > minReplicasMax) {
    throw new InvalidOptionError(
      'minReplicas',
      `must be a whole number from 0 to ${minReplicasMax}`,
      minReplicas,
    )
  }
  const connection = connectionOf(client)
  if (minReplicas > 0 && !connection.waits) {
    throw new InvalidOptionError('minReplicas', 'needs a client that has one connection to one master')
  }
  const ms = toMilliseconds('replicaTimeout', replicaTimeout, { min: '1ms' })
  return new RedisRecords({
    connection,
    prefix: readPrefix(prefix),
    replicas: minReplicas === 0 ? undefined : { count: minReplicas, ms },
    acceptedEviction: acceptEviction,
    onReady: options.onReady ?? warnWhereNothingIsSaved,
  })
}

function warnWhereNothingIsSaved({ persistence, sentence }: RedisDurability): void {
  if (persistence === 'none' || persistence === 'snapshots') {
    process.emitWarning(sentence, { type: 'RetrysafeDurabilityWarning' })
  }
}

interface Parts {
  readonly connection: RedisConnection
  readonly prefix: string
  readonly replicas: Replicas | undefined
  readonly acceptedEviction: string | undefined
  readonly onReady: (durability: RedisDurability) => void
}

class RedisRecords implements RedisStore {
  readonly name = 'redis'
  readonly capabilities: StoreCapabilities
  readonly #parts: Parts
  readonly #runner: VerbRunner
  #durability: RedisDurability | undefined
  #readying: Promise<RedisDurability> | undefined
  #isClosed = false

  constructor(parts: Parts) {
    this.#parts = parts
    const { connection, prefix, replicas } = parts
    this.capabilities = {
      clock: 'store',
      joinsTransaction: false,
      // Of a cluster, each node has a clock of its own, which must judge its own records.
      batchMax: connection.isCluster ? 1 : batchMax,
      flightsMax: connection.isCluster ? clusterFlightsMax : flightsMax,
      outcomeBytesMax: outcomeBytesMax[connection.wire],
      expiryGranularityMs: 1,
      expiresByItself: true,
    }
    this.#runner = {
      scripts: scriptsFor(connection.wire, replicas !== undefined),
      prefix,
      outcomeBytesMax: outcomeBytesMax[connection.wire],
      call: (script, keys, args) => this.#call(script, keys, args),
      singly: connection.isCluster,
    }
  }

  async ready(): Promise<RedisDurability> {
    if (this.#durability !== undefined) return this.#durability
    this.#checkOpen()
    this.#readying ??= this.#prepare().finally(() => {
      this.#readying = undefined
    })
    return await this.#readying
  }

  claim(claims: readonly Claim[]): Promise<Replies<ClaimReply>> {
    return claim(this.#runner, claims)
  }

  supersede(takeovers: readonly Takeover[]): Promise<Replies<TakeoverReply>> {
    return supersede(this.#runner, takeovers)
  }

  renew(renewals: readonly Renewal[]): Promise<Replies<RenewalReply>> {
    return renew(this.#runner, renewals)
  }

  settle(settlements: readonly Settlement[]): Promise<Replies<SettlementReply>> {
    return settle(this.#runner, settlements)
  }

  read(ids: readonly RecordId[]): Promise<Replies<IdempotencyRecord | undefined>> {
    return read(this.#runner, ids)
  }

  async sweep(limit: number): Promise<SweepReply> {
    return await this.#translated(() => sweepAll(this.#parts.connection, this.#runner, limit))
  }

  async list(query: ListQuery): Promise<ListPage> {
    return await this.#translated(() => listPage(this.#parts.connection, this.#runner, query))
  }

  /** The client is the user's: it stays open. */
  async close(): Promise<void> {
    this.#isClosed = true
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #call(
    script: Script,
    keys: readonly string[],
    args: readonly (string | Buffer)[],
  ): Promise<readonly Buffer[]> {
    this.#checkOpen()
    if (this.#durability === undefined) await this.ready()
    const { connection, replicas } = this.#parts
    try {
      return await connection.run(script, keys, args, script.isReadonly ? undefined : replicas)
    } catch (error) {
      throw asStoreError(error)
    }
  }

  async #translated<Value>(work: () => Promise<Value>): Promise<Value> {
    this.#checkOpen()
    await this.ready()
    try {
      return await work()
    } catch (error) {
      throw asStoreError(error)
    }
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new ClosedError('store')
  }

  async #prepare(): Promise<RedisDurability> {
    const { connection, replicas, acceptedEviction, onReady } = this.#parts
    const unanswered = Promise.withResolvers<never>()
    const timer = setTimeout(() => {
      unanswered.reject(new StoreError('transient', `The server did not answer in ${readyMsMax} ms.`))
    }, readyMsMax)
    try {
      const asked = readDurability(connection, { minReplicas: replicas?.count ?? 0, acceptedEviction })
      this.#durability = await Promise.race([asked, unanswered.promise])
    } catch (error) {
      throw asStoreError(error)
    } finally {
      clearTimeout(timer)
    }
    onReady(this.#durability)
    return this.#durability
  }
}

const batchMax = 500
/** The server runs one script at a time; while one is under way, the next two are packed. */
const flightsMax = 3
/** Commands of one turn leave together; each is a flight. */
const clusterFlightsMax = 1_000
