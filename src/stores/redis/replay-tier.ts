/**
 * Entries of a fast tier in Redis, shared by all processes. Whatever the server loses or evicts is asked of the
 * durable store; how long an entry is kept is counted by the server.
 *
 *   octets 0..3  length of the head, big-endian
 *   head         JSON, UTF-8: the entry without the outcome of its record
 *   rest         the outcome
 */
import { InvalidOptionError } from '../../core/errors.ts'
import { refuseUnknownOptions } from '../../core/options.ts'
import type { CompletedRecord, RecordId } from '../../core/record.ts'
import type { ReplayTier, TieredRecord } from '../../core/replay-tier.ts'
import { connectionOf, type RedisClient, type RedisConnection } from './client.ts'
import { asStoreError } from './errors.ts'
import { readPrefix } from './prefix.ts'
import { type Script, script, type Wire, wires } from './scripts.ts'

export interface RedisReplayTierOptions {
  /** As of `redisStore`. It stays yours: the tier never closes it. */
  readonly client: RedisClient
  /** Put before the id of each record: 1 to 64 letters, digits and `_:.-`. Default `'retrysafe-replay:'`. */
  readonly prefix?: string
  /** Larger outcomes are not kept. Default 256 KiB. */
  readonly outcomeBytesMax?: number
}

const outcomeBytesMaxDefault = 256 * 1024
const lengthBytes = 4
const leftBytes = 6

/**
 * A fast tier in Redis or Valkey for `tieredStore`, on any server: also one that evicts and saves nothing.
 *
 * @throws InvalidOptionError
 * @example
 * const store = tieredStore({ fast: redisReplayTier({ client: new Redis(url) }), durable: postgresStore({ pool }) })
 */
export function redisReplayTier(options: RedisReplayTierOptions): ReplayTier {
  refuseUnknownOptions('redisReplayTier', options, ['client', 'prefix', 'outcomeBytesMax'])
  const { outcomeBytesMax = outcomeBytesMaxDefault } = options
  if (!Number.isSafeInteger(outcomeBytesMax) || outcomeBytesMax < 1) {
    throw new InvalidOptionError('outcomeBytesMax', 'must be a whole number of at least 1', outcomeBytesMax)
  }
  const prefix = readPrefix(options.prefix ?? 'retrysafe-replay:')
  return new RedisReplayTier(connectionOf(options.client), prefix, outcomeBytesMax)
}

class RedisReplayTier implements ReplayTier {
  readonly name = 'redis'
  readonly #connection: RedisConnection
  readonly #prefix: string
  readonly #outcomeBytesMax: number
  readonly #scripts: Readonly<Record<'get' | 'put', Script>>

  constructor(connection: RedisConnection, prefix: string, outcomeBytesMax: number) {
    this.#connection = connection
    this.#prefix = prefix
    this.#outcomeBytesMax = outcomeBytesMax
    this.#scripts = scriptsFor(connection.wire)
  }

  async get(ids: readonly RecordId[]): Promise<readonly (TieredRecord | undefined)[]> {
    const answers = await this.#run(ids, async (some) => {
      const [letters, ...found] = await this.#connection.run(
        this.#scripts.get,
        this.#keys(some),
        [''],
        undefined,
      )
      return Array.from(letters ?? [], (letter) => (letter === foundLetter ? found.shift() : undefined))
    })
    return answers.map((octets) => (octets === undefined ? undefined : entryOf(octets)))
  }

  async put(entries: readonly TieredRecord[]): Promise<void> {
    const kept = entries.filter(
      ({ record, leftMs }) => leftMs >= 1 && record.outcome.byteLength <= this.#outcomeBytesMax,
    )
    await this.#run(kept, async (some) => {
      const keys = this.#keys(some.map(({ record }) => record.id))
      const args = [
        Buffer.concat(some.flatMap(octetsOf)),
        ...some.map(({ leftMs }) => `${Math.floor(leftMs)}`),
      ]
      await this.#connection.run(this.#scripts.put, keys, args, undefined)
      return []
    })
  }

  /** The client is the user's: it stays open. */
  async close(): Promise<void> {}

  #keys(ids: readonly RecordId[]): string[] {
    return ids.map((id) => this.#prefix + id)
  }

  /** Of a cluster, each key is sent by itself, in one turn, so that they leave together. */
  async #run<Item, Answer>(
    items: readonly Item[],
    send: (some: readonly Item[]) => Promise<readonly Answer[]>,
  ): Promise<readonly Answer[]> {
    if (items.length === 0) return []
    try {
      if (!this.#connection.isCluster) return await send(items)
      return (await Promise.all(items.map((item) => send([item])))).flat()
    } catch (error) {
      throw asStoreError(error)
    }
  }
}

const foundLetter = 'f'.charCodeAt(0)

function scriptsFor(wire: Wire): Readonly<Record<'get' | 'put', Script>> {
  return {
    get: script(
      `${wires[wire]}
local letters, out = {}, { '' }
for n = 1, #KEYS do
  local found = redis.pcall('GET', KEYS[n])
  if type(found) == 'string' then
    letters[n] = 'f'
    out[#out + 1] = struct.pack('>I${leftBytes}', math.max(0, redis.call('PTTL', KEYS[n]))) .. found
  else letters[n] = 'a' end
end
out[1] = table.concat(letters)
return answer(out)`,
      true,
    ),
    put: script(
      `${wires[wire]}
local place, item = 1, nil
for n = 1, #KEYS do
  item, place = struct.unpack('>I${lengthBytes}c0', items, place)
  redis.call('SET', KEYS[n], item, 'PX', ARGV[n + 1])
end
return answer({ '' })`,
      false,
    ),
  }
}

/** An entry with its length before it. */
function octetsOf({ record, seenAt, check }: TieredRecord): readonly Uint8Array[] {
  const { outcome, ...rest } = record
  const head = Buffer.from(JSON.stringify({ record: rest, seenAt, check }))
  const lengths = Buffer.allocUnsafe(2 * lengthBytes)
  lengths.writeUInt32BE(lengthBytes + head.length + outcome.byteLength, 0)
  lengths.writeUInt32BE(head.length, lengthBytes)
  return [lengths, head, outcome]
}

/** Whether it is what was put is for the tiered store to check. @throws SyntaxError, RangeError, TypeError */
function entryOf(octets: Buffer): TieredRecord {
  const headAt = leftBytes + lengthBytes
  const outcomeAt = headAt + octets.readUInt32BE(leftBytes)
  const { record, seenAt, check } = JSON.parse(octets.toString('utf8', headAt, outcomeAt)) as {
    record: Omit<CompletedRecord, 'outcome'>
    seenAt: number
    check: string
  }
  const leftMs = octets.readUIntBE(0, leftBytes)
  return { record: { ...record, outcome: octets.subarray(outcomeAt) }, seenAt, check, leftMs }
}
