/**
 * A fast tier may do what it likes. Two processes share one; whatever it answers, an operation runs once for each
 * retention, and is answered with what the durable store has.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { RecordId } from '../../src/core/record.ts'
import type { ReplayTier, TieredRecord } from '../../src/core/replay-tier.ts'
import type { Timers } from '../../src/core/runtime.ts'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { lruReplayTier, tieredStore } from '../../src/stores/tiered.ts'

const answers = [
  'newest',
  'oldest',
  'nothing',
  'for longer than it may',
  'of another id',
  'damaged',
  'half',
] as const
const gets = ['answers', 'rejects', 'throws', 'hangs', 'too few', 'nonsense'] as const
const puts = ['keeps', 'keeps twice', 'loses', 'keeps later', 'rejects', 'hangs'] as const

interface Whims {
  readonly answers: readonly (typeof answers)[number][]
  readonly gets: readonly (typeof gets)[number][]
  readonly puts: readonly (typeof puts)[number][]
  /** Which field of a damaged entry is changed. */
  readonly damage: number
}

const never = new Promise<never>(() => {})

/** Goes through the lists of its whims again and again. */
function hostileTier(whims: Whims): ReplayTier {
  const kept = new Map<RecordId, TieredRecord[]>()
  const late: TieredRecord[] = []
  let [answered, got, put] = [0, 0, 0]

  const keep = (entry: TieredRecord): void =>
    void kept.set(entry.record.id, [...(kept.get(entry.record.id) ?? []), structuredClone(entry)])
  const answer = (id: RecordId): TieredRecord | undefined => {
    const own = kept.get(id) ?? []
    const whim = whims.answers[answered++ % whims.answers.length]
    switch (whim) {
      case 'nothing':
        return undefined
      case 'oldest':
        return own[0]
      case 'for longer than it may':
        return own[0] && { ...own[0], leftMs: 1e9 }
      case 'of another id':
        return [...kept].find(([other]) => other !== id)?.[1].at(-1)
      case 'damaged':
        return damaged(own.at(-1), whims.damage)
      case 'half':
        return { ...own.at(-1), record: undefined } as unknown as TieredRecord
      default:
        return own.at(-1)
    }
  }
  return {
    name: 'hostile',
    get(ids) {
      const whim = whims.gets[got++ % whims.gets.length]
      if (whim === 'throws') throw new Error('thrown')
      if (whim === 'rejects') return Promise.reject(new Error('rejected'))
      if (whim === 'hangs') return never
      if (whim === 'nonsense') return Promise.resolve('nonsense' as never)
      return Promise.resolve(structuredClone(ids.map(answer).slice(whim === 'too few' ? 1 : 0)))
    },
    put(entries) {
      const whim = whims.puts[put++ % whims.puts.length]
      for (const entry of late.splice(0)) keep(entry)
      if (whim === 'keeps later') late.push(...entries)
      if (whim === 'keeps' || whim === 'keeps twice' || whim === 'hangs') entries.forEach(keep)
      if (whim === 'keeps twice') entries.forEach(keep)
      if (whim === 'rejects') return Promise.reject(new Error('rejected'))
      return whim === 'hangs' ? never : Promise.resolve()
    },
    close: () => Promise.resolve(),
  }
}

function damaged(entry: TieredRecord | undefined, damage: number): TieredRecord | undefined {
  if (entry === undefined) return undefined
  const changed = structuredClone(entry) as unknown as Record<string, unknown> & {
    record: Record<string, unknown>
  }
  const { record } = changed
  const fields = [
    'fingerprint',
    'retainUntil',
    'settledAt',
    'fence',
    'token',
    'phase',
    'id',
    'outcome',
    'check',
    'seenAt',
  ]
  const field = fields[damage % fields.length] as string
  const of = field in record ? record : changed
  const value = of[field]
  if (value instanceof Uint8Array) value[value.length - 2] = (value.at(-2) ?? 0) ^ 1
  else of[field] = typeof value === 'number' ? value + 1_000_000 : `${String(value)}x`
  return changed as unknown as TieredRecord
}

/** Time limits end when all that is under way has had its turn: what answers at all answers before. */
const timers: Pick<Timers, 'background'> = {
  background(_, run) {
    const turn = setImmediate(run)
    return () => clearImmediate(turn)
  },
}

const whims: fc.Arbitrary<Whims> = fc.record({
  answers: fc.array(fc.constantFrom(...answers), { minLength: 1, maxLength: 6 }),
  gets: fc.array(
    fc.oneof({ weight: 6, arbitrary: fc.constant('answers' as const) }, fc.constantFrom(...gets)),
    {
      minLength: 1,
      maxLength: 6,
    },
  ),
  puts: fc.array(fc.constantFrom(...puts), { minLength: 1, maxLength: 6 }),
  damage: fc.nat(20),
})

const steps = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ process: fc.nat(1), key: fc.nat(1), principal: fc.nat(1), input: fc.nat(1) }),
    },
    { weight: 1, arbitrary: fc.record({ passesMs: fc.constantFrom(1, 300, 999, 1_000, 5_000) }) },
  ),
  { minLength: 10, maxLength: 40 },
)

const retentionMs = 1_000

test('a hostile tier never causes a second run, nor another answer', async () => {
  let replays = 0
  await fc.assert(
    fc.asyncProperty(whims, steps, fc.boolean(), async (given, asked, hasLru) => {
      let time = 0
      // The clocks of store and hosts are different clocks.
      const now = { now: () => 1_700_000_000_000 + Math.floor(time * 1.0004) }
      const durable = memoryStore({ clock: now })
      const shared = hostileTier(given)
      const processes = [0, 5_000_000].map((startedMs) => {
        const clock = { monotonic: () => startedMs + time }
        const fast = hasLru ? [lruReplayTier({ clock }), shared] : shared
        const store = tieredStore({ fast, durable, clock, timers })
        return createIdempotency({ store, sweep: false, retention: retentionMs }).operation(
          'buy',
          // Not the value, which tells runs apart.
          { fingerprint: ({ input }) => input },
          ({ value }: { value: string; input: number }) => value,
        )
      })
      const kept = new Map<string, { value: string; input: number; until: number }>()
      for (const [at, step] of asked.entries()) {
        if ('passesMs' in step) {
          time += step.passesMs
          continue
        }
        const { process, input } = step
        const principal = `principal-${step.principal}`
        const key = `key-${step.key}`
        const name = `${principal} ${key}`
        const value = `${name} ${at}`
        const before = kept.get(name)
        const isKept = before !== undefined && now.now() < before.until
        const result = await processes[process]?.attempt({
          key,
          principal,
          input: { value, input },
        })
        if (!isKept) {
          expect(result).toEqual({ kind: 'executed', value })
          kept.set(name, { value, input, until: now.now() + retentionMs })
        } else if (before.input === input) {
          expect(result).toEqual({ kind: 'replayed', value: before.value })
          replays += 1
        } else expect(result).toEqual({ kind: 'mismatch' })
      }
    }),
    { numRuns: 3_000 },
  )
  expect(replays).toBeGreaterThan(3_000)
}, 120_000)
