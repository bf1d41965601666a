/** Tiers for tests of the tiered store. */
import type { RecordId } from '../../src/core/record.ts'
import type { ReplayTier, TieredRecord } from '../../src/core/replay-tier.ts'
import type { Clock } from '../../src/core/runtime.ts'

export interface RemoteTier extends ReplayTier {
  readonly entries: Map<RecordId, { readonly entry: TieredRecord; readonly until: number }>
  /** How often each was called. */
  gets: number
  puts: number
}

/** Sound, and asked by promise as one on a server is: entries are copies. */
export function remoteTier(clock: Pick<Clock, 'monotonic'>): RemoteTier {
  const tier: RemoteTier = {
    name: 'remote',
    entries: new Map(),
    gets: 0,
    puts: 0,
    async get(ids) {
      tier.gets++
      return ids.map((id) => {
        const kept = tier.entries.get(id)
        if (kept === undefined) return undefined
        const leftMs = kept.until - clock.monotonic()
        return leftMs > 0 ? structuredClone({ ...kept.entry, leftMs }) : undefined
      })
    },
    async put(entries) {
      tier.puts++
      for (const entry of structuredClone(entries)) {
        tier.entries.set(entry.record.id, { entry, until: clock.monotonic() + entry.leftMs })
      }
    },
    async close() {
      tier.entries.clear()
    },
  }
  return tier
}
