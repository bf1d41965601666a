/**
 * A fast tier that can neither fail nor delay anything: what goes wrong with it is a miss, and is told.
 *
 * working  every get asks it; after `failuresMax` failures in a row it rests.
 * resting  it is not asked, for `restMs`; then one get asks it as a probe, while the others go on without it. A
 *          probe that is answered ends the rest, one that fails begins another.
 */
import type { RecordId } from '../../core/record.ts'
import type { ReplayTier, TieredRecord } from '../../core/replay-tier.ts'
import type { Clock, Timers } from '../../core/runtime.ts'
import { isSound } from './entries.ts'

const failuresMax = 3
const restMs = 1_000
/** Puts that are under way; what comes beyond is not put. */
const putsMax = 32
/** Nobody waits for a put, but it counts as under way no longer. */
const putMsMax = 1_000
const closeMsMax = 1_000

export interface TierGuards {
  readonly clock: Pick<Clock, 'monotonic'>
  readonly timers: Pick<Timers, 'background'>
  /** How long a get may take. */
  readonly getMsMax: number
  readonly onError: (error: unknown, tier: string) => void
}

export class GuardedTier {
  readonly #tier: ReplayTier
  readonly #guards: TierGuards
  #failures = 0
  #restsUntil = 0
  #probing = false
  #puts = 0

  constructor(tier: ReplayTier, guards: TierGuards) {
    this.#tier = tier
    this.#guards = guards
  }

  /** Whether its entries are in this process, so that it is asked by `recall` alone. */
  get isHere(): boolean {
    return this.#tier.recall !== undefined
  }

  recall(id: RecordId): TieredRecord | undefined {
    try {
      const found = this.#tier.recall?.(id)
      return found?.record.id === id && found.leftMs > 0 ? found : undefined
    } catch (error) {
      this.#tell(error)
      return undefined
    }
  }

  /** The sound entries of these ids, at their places. */
  async get(ids: readonly RecordId[]): Promise<readonly (TieredRecord | undefined)[]> {
    if (this.isHere) return ids.map((id) => this.recall(id))
    if (this.#isResting()) return []
    this.#probing = this.#failures >= failuresMax
    try {
      const given = await this.#inTime(this.#guards.getMsMax, () => this.#tier.get(ids))
      if (!Array.isArray(given) || given.length !== ids.length)
        throw new Error('The tier gave another number of answers than ids.')
      const sound = given.map((entry, at) => this.#checked(entry, ids[at] as RecordId))
      this.#failures = 0
      return sound
    } catch (error) {
      this.#failed(error)
      return []
    } finally {
      this.#probing = false
    }
  }

  put(entries: readonly TieredRecord[]): void {
    if (this.#failures >= failuresMax || this.#puts >= putsMax) return
    this.#puts++
    this.#inTime(putMsMax, () => this.#tier.put(entries))
      .catch((error: unknown) => this.#failed(error))
      .finally(() => this.#puts--)
  }

  async close(): Promise<void> {
    await this.#inTime(closeMsMax, () => this.#tier.close()).catch((error: unknown) => this.#tell(error))
  }

  #isResting(): boolean {
    if (this.#failures < failuresMax) return false
    return this.#probing || this.#guards.clock.monotonic() < this.#restsUntil
  }

  #checked(entry: unknown, id: RecordId): TieredRecord | undefined {
    if (entry === undefined) return undefined
    if (!isSound(entry, id)) throw new Error('The tier gave an entry that is damaged or of another record.')
    return entry.leftMs > 0 ? entry : undefined
  }

  #failed(error: unknown): void {
    this.#failures++
    if (this.#failures >= failuresMax) this.#restsUntil = this.#guards.clock.monotonic() + restMs
    this.#tell(error)
  }

  #tell(error: unknown): void {
    try {
      this.#guards.onError(error, this.#tier.name)
    } catch {
      // A listener that throws must not fail what it is told about.
    }
  }

  async #inTime<Value>(msMax: number, call: () => Promise<Value>): Promise<Value> {
    const late = Promise.withResolvers<never>()
    const cancel = this.#guards.timers.background(msMax, () =>
      late.reject(new Error(`The tier did not answer in ${msMax} ms.`)),
    )
    try {
      return await Promise.race([call(), late.promise])
    } finally {
      cancel()
    }
  }
}
