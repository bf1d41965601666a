/** A fast tier in this process' memory, bounded by bytes. */
import { InvalidOptionError } from '../../core/errors.ts'
import { refuseUnknownOptions } from '../../core/options.ts'
import type { RecordId } from '../../core/record.ts'
import type { ReplayTier, TieredRecord } from '../../core/replay-tier.ts'
import type { Clock } from '../../core/runtime.ts'

export interface LruReplayTierOptions {
  /** Most bytes that all entries take together: their outcomes and an estimate for the rest. Default 32 MiB. */
  readonly bytesMax?: number
  /** Counts how long entries are kept. Default: this host's monotonic clock. */
  readonly clock?: Pick<Clock, 'monotonic'>
}

const bytesMaxDefault = 32 * 1024 * 1024
/** What an entry takes beside its outcome: two objects, their texts, a place in the map. Measured: 700 to 900. */
const entryBytes = 1_024
/** One entry must not drive out all others. */
const entryPartMax = 1 / 16
const bytesMaxMin = entryBytes / entryPartMax

interface Kept {
  readonly entry: TieredRecord
  readonly until: number
  readonly bytes: number
}

/**
 * Keeps the entries that were used last. An outcome of more than a sixteenth of `bytesMax` is not kept. Who
 * reads a record must not change its bytes. Entries are found by record id, of which the principal is a part, so
 * that nobody is answered with an outcome of somebody else.
 *
 * @throws InvalidOptionError
 * @example
 * const store = tieredStore({ fast: lruReplayTier({ bytesMax: 8 * 1024 * 1024 }), durable: postgresStore({ pool }) })
 */
export function lruReplayTier(options: LruReplayTierOptions = {}): ReplayTier {
  refuseUnknownOptions('lruReplayTier', options, ['bytesMax', 'clock'])
  const { bytesMax = bytesMaxDefault, clock = performanceClock } = options
  if (!Number.isSafeInteger(bytesMax) || bytesMax < bytesMaxMin) {
    throw new InvalidOptionError('bytesMax', `must be a whole number of at least ${bytesMaxMin}`, bytesMax)
  }
  return new LruReplayTier(bytesMax, clock)
}

const performanceClock: Pick<Clock, 'monotonic'> = { monotonic: () => performance.now() }

class LruReplayTier implements ReplayTier {
  readonly name = 'lru'
  readonly #bytesMax: number
  readonly #clock: Pick<Clock, 'monotonic'>
  /** In the order of their last use. */
  readonly #kept = new Map<RecordId, Kept>()
  #bytes = 0

  constructor(bytesMax: number, clock: Pick<Clock, 'monotonic'>) {
    this.#bytesMax = bytesMax
    this.#clock = clock
  }

  recall(id: RecordId): TieredRecord | undefined {
    const kept = this.#kept.get(id)
    if (kept === undefined) return undefined
    const leftMs = kept.until - this.#clock.monotonic()
    this.#kept.delete(id)
    if (leftMs <= 0) {
      this.#bytes -= kept.bytes
      return undefined
    }
    this.#kept.set(id, kept)
    const { record, seenAt, check } = kept.entry
    return { record, seenAt, check, leftMs }
  }

  async get(ids: readonly RecordId[]): Promise<readonly (TieredRecord | undefined)[]> {
    return ids.map((id) => this.recall(id))
  }

  async put(entries: readonly TieredRecord[]): Promise<void> {
    for (const entry of entries) this.#putOne(entry)
  }

  async close(): Promise<void> {
    this.#kept.clear()
    this.#bytes = 0
  }

  #putOne(entry: TieredRecord): void {
    const { id, outcome } = entry.record
    const older = this.#kept.get(id)
    if (older !== undefined && older.entry.seenAt > entry.seenAt) return
    this.#remove(id)
    const bytes = entryBytes + outcome.byteLength
    if (!(entry.leftMs > 0) || bytes > this.#bytesMax * entryPartMax) return
    this.#kept.set(id, { entry: alone(entry), until: this.#clock.monotonic() + entry.leftMs, bytes })
    this.#bytes += bytes
    for (const oldest of this.#kept.keys()) {
      if (this.#bytes <= this.#bytesMax) break
      this.#remove(oldest)
    }
  }

  #remove(id: RecordId): void {
    const kept = this.#kept.get(id)
    if (kept === undefined) return
    this.#kept.delete(id)
    this.#bytes -= kept.bytes
  }
}

/** An outcome that is a view keeps alive all octets that it is a view of: with some drivers, a whole answer. */
function alone(entry: TieredRecord): TieredRecord {
  const { record } = entry
  const { outcome } = record
  if (outcome.buffer.byteLength === outcome.byteLength) return entry
  return { ...entry, record: { ...record, outcome: new Uint8Array(outcome) } }
}
