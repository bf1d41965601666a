/** Tiered stores for simulated runs: an unreliable tier on a server, shared by all processes, behind an lru in each. */
import type { CompletedRecord, RecordId } from '../../src/core/record.ts'
import { encodeOutcome } from '../../src/core/outcome.ts'
import type { ReplayTier, TieredRecord } from '../../src/core/replay-tier.ts'
import type { Claim, Recalled, Settlement, TransactionalStore } from '../../src/core/store.ts'
import { lruReplayTier, tieredStore } from '../../src/stores/tiered.ts'
import type { SimTier, SimTierTools } from '../../src/verification/simulator/index.ts'

interface Kept {
  readonly entry: TieredRecord
  readonly until: number
}

const confirmAfterMs = [300_000, 1_500]

/** What the server kept of one id, newest last. */
type Server = Map<RecordId, Kept[]>

export function unreliableTiers(): () => SimTier {
  return () => {
    const server: Server = new Map()
    return (store, tools) => {
      const { clock, timers } = tools
      const lru = lruReplayTier({ clock })
      const fast = tools.pick('tiers', 3)
      const remote = remoteTier(server, tools)
      return tieredStore({
        fast: fast === 0 ? [lru, remote] : fast === 1 ? lru : remote,
        durable: store,
        confirmAfter: confirmAfterMs[tools.pick('confirm after', confirmAfterMs.length)] as number,
        clock,
        timers,
      })
    }
  }
}

/** Beside what the network does to it, it forgets, gives what is old or over, and mixes entries up. */
function remoteTier(server: Server, tools: SimTierTools): ReplayTier {
  const answer = (id: RecordId): TieredRecord | undefined => {
    const kept = server.get(id) ?? []
    switch (tools.pick('tier answers', 12)) {
      case 1:
        return undefined
      case 2:
        return valid(kept[0], 0)
      case 3:
        return valid(kept.at(-1), 600_000)
      case 4:
        return valid([...server.values()].find((others) => others !== kept)?.at(-1), 600_000)
      case 5:
        return damaged(kept.at(-1))
      default:
        return valid(kept.at(-1), 0)
    }
  }
  const valid = (kept: Kept | undefined, forgivesMs: number): TieredRecord | undefined => {
    const leftMs = kept === undefined ? 0 : kept.until - tools.remoteClock() + forgivesMs
    return kept === undefined || leftMs <= 0 ? undefined : structuredClone({ ...kept.entry, leftMs })
  }
  return {
    name: 'remote',
    get: (ids) => tools.remote('tier get', () => ids.map(answer)),
    put: (entries) =>
      tools.remote('tier put', () => {
        for (const entry of structuredClone(entries)) {
          if (tools.pick('tier puts', 8) === 1) continue
          const kept = server.get(entry.record.id) ?? []
          kept.push({ entry, until: tools.remoteClock() + entry.leftMs })
          server.set(entry.record.id, kept)
        }
      }),
    async close() {},
  }
}

function damaged(kept: Kept | undefined): TieredRecord | undefined {
  if (kept === undefined) return undefined
  const entry = structuredClone({ ...kept.entry, leftMs: 1_000 })
  const { outcome } = entry.record
  // The last character of a value, so that it reads well all the same.
  outcome[outcome.length - 2] = (outcome.at(-2) ?? 0) ^ 1
  return entry
}

/** Counts how often the engine asks a store for what is in its process, and is answered. */
export function counting(tier: () => SimTier, counts: { asked: number; recalled: number }): () => SimTier {
  return () => {
    const put = tier()
    return (store, tools) => {
      const front = put(store, tools)
      const { recall } = front
      if (recall === undefined) return front
      return inFrontOf(front, {
        recall(id): Recalled | undefined {
          const found = recall(id)
          counts.asked += 1
          if (found !== undefined) counts.recalled += 1
          return found
        },
      })
    }
  }
}

export type BrokenTier =
  | 'ignores retention'
  | 'keeps what is not yet acknowledged'
  | 'keeps the running as completed'
  | 'answers for another id'

/** Each is one mistake that a tiered store could make. */
export const brokenTiers: Readonly<Record<BrokenTier, () => SimTier>> = {
  'ignores retention': () => (store) => {
    const kept = new Map<RecordId, CompletedRecord>()
    return inFrontOf(store, {
      async claim(claims) {
        const answer = await store.claim(claims)
        for (const reply of answer.replies) {
          if (reply.kind === 'found' && reply.record.phase === 'completed')
            kept.set(reply.record.id, reply.record)
        }
        return answer
      },
      recall: (id) => recalled(kept.get(id)),
    })
  },
  'keeps what is not yet acknowledged': () => (store) => {
    const claims = new Map<string, Claim>()
    const kept = new Map<RecordId, CompletedRecord>()
    return inFrontOf(store, {
      claim(asked) {
        for (const claim of asked) claims.set(claim.token, claim)
        return store.claim(asked)
      },
      settle(settlements) {
        for (const settlement of settlements) {
          const record = completed(claims.get(settlement.token), settlement)
          if (record !== undefined) kept.set(record.id, record)
        }
        return store.settle(settlements)
      },
      recall: (id) => recalled(kept.get(id)),
    })
  },
  'keeps the running as completed': () => (store) => {
    const kept = new Map<RecordId, CompletedRecord>()
    return inFrontOf(store, {
      async claim(claims) {
        const answer = await store.claim(claims)
        for (const reply of answer.replies) {
          if (reply.kind !== 'found' || reply.record.phase !== 'running') continue
          const outcome = encodeOutcome({ kind: 'value', value: 'nothing yet' })
          const until = {
            settledAt: answer.now,
            retainUntil: answer.now + 1_000,
            tombstoneUntil: answer.now + 1_000,
          }
          kept.set(reply.record.id, { ...reply.record, phase: 'completed', outcome, ...until })
        }
        return answer
      },
      recall: (id) => recalled(kept.get(id)),
    })
  },
  'answers for another id': () => (store) => {
    let last: CompletedRecord | undefined
    return inFrontOf(store, {
      async claim(claims) {
        const answer = await store.claim(claims)
        for (const reply of answer.replies) {
          if (reply.kind === 'found' && reply.record.phase === 'completed') last = reply.record
        }
        return answer
      },
      recall: () => recalled(last),
    })
  },
}

/** The same store, with some of its verbs replaced. */
function inFrontOf<Tx>(
  store: TransactionalStore<Tx>,
  replaced: Partial<TransactionalStore<Tx>>,
): TransactionalStore<Tx> {
  return new Proxy(store, {
    get(target, name) {
      if (name in replaced) return replaced[name as keyof TransactionalStore<Tx>]
      const value = Reflect.get(target, name) as unknown
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

function recalled(record: CompletedRecord | undefined): Recalled | undefined {
  return record === undefined ? undefined : { now: record.settledAt, record }
}

function completed(claim: Claim | undefined, settlement: Settlement): CompletedRecord | undefined {
  if (claim === undefined || settlement.to !== 'completed') return undefined
  const { id, fingerprint, token, operation, principalTag } = claim
  const head = { id, fingerprint, token, operation, principalTag, fence: 1, createdAt: 0, settledAt: 0 }
  const { retentionMs, outcome } = settlement
  return { phase: 'completed', ...head, outcome, retainUntil: retentionMs, tombstoneUntil: retentionMs }
}
