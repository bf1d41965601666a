/**
 * For users' own tests: one operation on a store of theirs, which crashes or loses an answer at every point of its
 * life, is asked for again by another process, and must have taken effect once. Everything happens in this process
 * and, with the clock that is given, takes no time.
 */
import assert from 'node:assert/strict'
import type { Cancel, Runtime } from '../core/runtime.ts'
import type { IdempotencyStore, TransactionalStore } from '../core/store.ts'
import { createIdempotency, type Idempotency } from '../engine/idempotency.ts'
import { nodeRuntime } from '../engine/node-runtime.ts'
import type { Operation } from '../engine/operation.ts'
import { StoreError } from '../core/errors.ts'
import { type CrashPoint, withCrashPoints } from './crash-points.ts'

/** A clock that stands still until somebody moves it, and timers that go by it. */
export interface FakeClock {
  /** For `createIdempotency(options, runtime)`. */
  readonly runtime: Runtime
  /** Milliseconds since 1970; give it to stores that take a `clock`. */
  now(): number
  /** Moves time on; what falls due runs in its order, and every promise settles in between. */
  advance(ms: number): Promise<void>
  /** Lets everything happen that needs no time. */
  settle(): Promise<void>
  /** Timers that have not run: none should be left when all is over. */
  pendingTimers(): number
}

/** Turns of the event loop after which nothing is under way that needs no time. */
const turnsToSettle = 20

/**
 * Makes a clock.
 *
 * @param startMs where it starts; default in 2027
 * @example
 * const clock = fakeClock()
 * const idem = createIdempotency({ store: memoryStore({ clock }), lease: '30s' }, clock.runtime)
 * await clock.advance(31_000)
 */
export function fakeClock(startMs = 1_800_000_000_000): FakeClock {
  const real = nodeRuntime()
  const timers = new Set<{ readonly at: number; readonly run: () => void }>()
  let time = startMs

  function after(delayMs: number, run: () => void): Cancel {
    const timer = { at: time + delayMs, run }
    timers.add(timer)
    return () => void timers.delete(timer)
  }

  async function settle(): Promise<void> {
    for (let turn = 0; turn < turnsToSettle; turn++) await new Promise((resolve) => setImmediate(resolve))
  }

  return {
    now: () => time,
    settle,
    pendingTimers: () => timers.size,
    runtime: {
      clock: { now: () => time, monotonic: () => time },
      timers: { after, background: after, atTurnEnd: (run) => void setImmediate(run) },
      random: { token: real.random.token, fraction: () => 0.5 },
      digest: real.digest,
      sealing: real.sealing,
    },
    async advance(ms): Promise<void> {
      const until = time + ms
      await settle()
      for (;;) {
        const due = [...timers].filter(({ at }) => at <= until).toSorted((a, b) => a.at - b.at)[0]
        if (due === undefined) break
        timers.delete(due)
        time = Math.max(time, due.at)
        due.run()
        await settle()
      }
      time = until
    },
  }
}

export interface AppliedOnceOptions<Tx, Input, Output> {
  /** Opens an empty store; called for every point. Its times come from `clock`, or it has a clock of its own. */
  open(clock: FakeClock): Promise<OpenedStore<Tx>> | OpenedStore<Tx>
  /** The operation of yours, made on an instance of each process. */
  operation(idem: Idempotency<Tx>): Operation<Input, Output>
  readonly input: Input
  /** How often it has taken effect. */
  effects(): Promise<number> | number
  /** Called before every point: forgets the effects. */
  reset(): Promise<void> | void
  /**
   * Lets the store's time pass. Default: moves `clock`. A store with a clock of its own waits here.
   */
  advance?(clock: FakeClock, ms: number): Promise<void>
  /** Default `'30s'`. */
  readonly leaseMs?: number
}

export interface OpenedStore<Tx> {
  /** The store of the process that crashes. */
  readonly store: IdempotencyStore | TransactionalStore<Tx>
  /** The store of the process that asks afterwards, on the same records. Default: the same one. */
  readonly second?: IdempotencyStore | TransactionalStore<Tx>
  /** Ends the connections of the process that crashes, as its operating system would. */
  crash?(): Promise<void> | void
  dispose?(): Promise<void> | void
}

/** What became of one point. */
export interface PointEnd {
  readonly point: CrashPoint
  /** `crash`: nothing of the first process goes on. `lost answer`: the store's answer does not come. */
  readonly fault: 'crash' | 'lost answer'
  readonly effects: number
  /** How it ends for the second process. `unknown`: held, as the operation declares. */
  readonly end: string
}

const leaseMsDefault = 30_000
const settleAfterMs = 12_000
const asksMax = 40
const principal = 'alice'
const key = 'applied-once'

/**
 * Runs the operation once for each point that it passes and each fault, and asserts that it took effect at most
 * once, and exactly once where the second process gets a value.
 *
 * An operation in lease mode with `onUnknown: 'rerun'` fails this, and should: it may take effect again.
 *
 * @throws AssertionError naming point and fault
 * @example
 * const charges: string[] = []
 * await expectAppliedOnce({
 *   open: (clock) => ({ store: memoryStore({ clock }) }),
 *   operation: (idem) => idem.operation('charge', () => charges.push('charged')),
 *   input: { amount: 100 },
 *   effects: () => charges.length,
 *   reset: () => void (charges.length = 0),
 * })
 */
export async function expectAppliedOnce<Tx, Input, Output>(
  options: AppliedOnceOptions<Tx, Input, Output>,
): Promise<readonly PointEnd[]> {
  const ends: PointEnd[] = []
  const points: CrashPoint[] = []
  await runWith(options, (point) => {
    if (!points.includes(point)) points.push(point)
    return 'go on'
  })
  for (const point of points) {
    for (const fault of ['crash', 'lost answer'] as const) {
      if (fault === 'lost answer' && !point.endsWith('answered')) continue
      let met = false
      const { effects, end } = await runWith(options, (reached) => {
        if (reached !== point || met) return 'go on'
        met = true
        return fault
      })
      ends.push({ point, fault, effects, end })
      const where = `${fault} at '${point}'`
      assert.ok(effects <= 1, `${where}: it took effect ${effects} times`)
      if (end === 'value')
        assert.equal(effects, 1, `${where}: a value was told, and it took effect ${effects} times`)
      else assert.equal(end, 'unknown', `${where}: it ends as ${end}`)
    }
  }
  return ends
}

type Decide = (point: CrashPoint) => 'go on' | PointEnd['fault']

/** One run: a first process to which something happens, and a second one that asks until it has an answer. */
async function runWith<Tx, Input, Output>(
  options: AppliedOnceOptions<Tx, Input, Output>,
  decide: Decide,
): Promise<{ readonly effects: number; readonly end: string }> {
  const { open, operation, input, effects, reset, leaseMs = leaseMsDefault } = options
  await reset()
  const clock = fakeClock()
  const advance = options.advance ?? ((moved: FakeClock, ms: number) => moved.advance(ms))
  const { store, second: other = store, crash, dispose } = await open(clock)
  let crashed = false
  const gone = (): Promise<void> => new Promise(() => {})
  const broken = withCrashPoints(store as TransactionalStore<Tx>, (point) => {
    if (crashed) return gone()
    const decision = decide(point)
    if (decision === 'go on') return undefined
    if (decision === 'lost answer') throw new StoreError('lost', 'The answer was lost.')
    crashed = true
    return gone()
  })
  const settings = { lease: leaseMs, wait: 0, sweep: false } as const
  const first = createIdempotency<Tx>({ store: broken, ...settings }, clock.runtime)
  const call = { key, principal, input }
  let firstEnded = false
  void operation(first)
    .attempt(call)
    .catch(() => {})
    .finally(() => (firstEnded = true))
  await clock.settle()
  // What it tries again takes time; a process that crashed tries nothing.
  for (let tries = 0; !firstEnded && !crashed && tries < asksMax; tries++)
    await clock.advance(settleAfterMs / asksMax)
  if (crashed) await crash?.()
  const second = createIdempotency<Tx>({ store: other as TransactionalStore<Tx>, ...settings }, clock.runtime)
  let end = 'in-progress'
  for (let asks = 0; end === 'in-progress' && asks < asksMax; asks++) {
    end = await endOf(clock, operation(second), call)
    if (end === 'in-progress') await advance(clock, leaseMs / 4)
  }
  const counted = await effects()
  // The store of a process that crashed has calls under way that nobody will end.
  if (!crashed) await store.close()
  await other.close()
  await dispose?.()
  return { effects: counted, end }
}

async function endOf<Input, Output>(
  clock: FakeClock,
  operation: Operation<Input, Output>,
  call: { readonly key: string; readonly principal: string; readonly input: Input },
): Promise<string> {
  let end: string | undefined
  operation.attempt(call).then(
    ({ kind }) => (end = kind === 'executed' || kind === 'replayed' ? 'value' : kind),
    (error: unknown) => (end = error instanceof Error ? error.message : String(error)),
  )
  await clock.settle()
  for (let tries = 0; end === undefined && tries < asksMax; tries++)
    await clock.advance(settleAfterMs / asksMax)
  return end ?? 'no end'
}
