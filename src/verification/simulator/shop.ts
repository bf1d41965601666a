/**
 * The user's program in one simulated process: an operation in the mode of the run, whose handler writes one row
 * into the ledger, takes its time, and fails sometimes.
 */
import { isIdempotencyError, StoreError } from '../../core/errors.ts'
import type { TransactionalStore } from '../../core/store.ts'
import type { Attempt } from '../../engine/attempt.ts'
import { createIdempotency, type Idempotency } from '../../engine/idempotency.ts'
import type { Operation, OperationOptions, Reconciliation } from '../../engine/operation.ts'
import type { Effect } from './database.ts'
import { chanceOf } from './faults.ts'
import type { SimMode } from './modes.ts'
import type { Network } from './network.ts'
import type { SimProcess } from './process.ts'
import type { SimService } from './service.ts'
import { type SimStore, type SimTransaction, valueOf } from './store.ts'
import type { World } from './world.ts'

export interface Ask {
  readonly call: number
  readonly principal: string
  readonly key: string
  readonly request: string
}

export interface ShopSettings {
  readonly mode: SimMode
  readonly leaseMs: number
  readonly retentionMs: number
  readonly tombstoneMs: number
  readonly waitMs: number
  readonly sweeps: boolean
}

/** How long handlers take; a lease is 1,000 ms. */
const handlerMs = [5, 0, 60, 700, 1_500, 5_000]
const handlerChances = chanceOf(0.4, handlerMs.length)
const failures = ['none', 'before', 'after'] as const
const failureChances = chanceOf(0.15, failures.length)

const unsure: ReadonlySet<string> = new Set(['outcome-unknown', 'key-expired'])

/** A handler that knows that it did nothing. */
class NothingDone extends Error {}
/** A handler that does not know. */
class NobodyKnows extends Error {}

/** How a call ends that nothing came of, as far as anybody can know. */
export class CallError extends Error {
  readonly code: string
  readonly isFail: boolean

  constructor(code: string, isFail: boolean) {
    super(code)
    this.code = code
    this.isFail = isFail
  }
}

export class SimShop {
  readonly #world: World
  readonly #store: SimStore
  readonly #network: Network
  readonly #service: SimService
  readonly #process: SimProcess
  readonly #settings: ShopSettings
  /** Called when the handler of a call starts once more. */
  readonly #onRerun: (call: number) => void
  readonly #idem: Idempotency<SimTransaction>
  readonly #operation: Operation<Ask, unknown> | undefined
  /** Calls whose handler has started. */
  readonly #started = new Set<number>()

  constructor(
    world: World,
    store: SimStore,
    front: TransactionalStore<SimTransaction>,
    network: Network,
    service: SimService,
    process: SimProcess,
    settings: ShopSettings,
    onRerun: (call: number) => void,
  ) {
    this.#world = world
    this.#store = store
    this.#network = network
    this.#service = service
    this.#process = process
    this.#settings = settings
    this.#onRerun = onRerun
    const { leaseMs, retentionMs, tombstoneMs, waitMs, sweeps, mode } = settings
    this.#idem = createIdempotency(
      {
        store: front,
        lease: leaseMs,
        retention: retentionMs,
        tombstone: tombstoneMs,
        wait: waitMs,
        onUnknown: mode.onUnknown,
        sweep: sweeps ? 1_000 : false,
        compression: false,
      },
      process.runtime,
    )
    this.#operation = this.#operationOf(mode)
  }

  /** The value and whether it is a replay. @throws CallError */
  async ask(ask: Ask): Promise<{ readonly value: string; readonly replayed: boolean }> {
    const { principal, key } = ask
    try {
      const { value, replayed } =
        this.#operation === undefined
          ? await this.#askWithin(ask)
          : await this.#operation.run({ principal, key, input: ask })
      return { value: Array.isArray(value) ? String(value[0]) : String(value), replayed }
    } catch (error) {
      throw this.#asCallError(ask, error)
    }
  }

  async close(): Promise<void> {
    await this.#idem.close()
  }

  #operationOf(mode: SimMode): Operation<Ask, unknown> | undefined {
    const fingerprint = ({ request }: Ask): string => request
    switch (mode.kind) {
      case 'lease': {
        const options: OperationOptions<Ask, string> = {
          fingerprint,
          onError: (error) => (error instanceof NothingDone ? 'release' : 'unknown'),
          ...(mode.onUnknown === 'reconcile' ? { reconcile: (ask: Ask) => this.#reconcile(ask) } : {}),
        }
        return this.#idem.operation('buy', options, (ask: Ask, run) =>
          // The attempt itself: its token tells the checker whose effect a row is.
          this.#inLease(ask, run as Attempt),
        )
      }
      case 'transaction':
        return this.#idem.transaction('buy', { fingerprint }, (ask: Ask, { tx, fence }) =>
          this.#inTransaction(ask, tx, fence),
        )
      case 'statement':
        return this.#idem.statement('buy', 'INSERT', (ask: Ask) => [this.#effectOf(ask, '')], { fingerprint })
      case 'within':
        return undefined
      default:
        return mode.kind satisfies never
    }
  }

  async #inLease(ask: Ask, attempt: Attempt): Promise<string> {
    this.#start(ask, attempt.token, attempt.fence)
    const failure = await this.#takeTime()
    if (failure === 'before') throw new NothingDone()
    const effect = this.#effectOf(ask, attempt.token)
    await this.#askService('effect', () => this.#service.apply(effect))
    await this.#takeTime()
    this.#stop(ask, attempt.token)
    if (failure === 'after') throw new NobodyKnows()
    return valueOf(effect)
  }

  async #reconcile(ask: Ask): Promise<Reconciliation<string>> {
    const { principal, key } = ask
    const found = await this.#askService('lookup', () => this.#service.find(principal, key))
    this.#world.record({
      type: 'reconcile',
      principal,
      key,
      call: ask.call,
      adopted: found !== undefined,
    })
    return found === undefined ? { kind: 'not-applied' } : { kind: 'applied', value: valueOf(found) }
  }

  async #inTransaction(ask: Ask, tx: SimTransaction, fence: number): Promise<string> {
    this.#start(ask, tx.token, fence)
    const failure = await this.#takeTime()
    if (failure === 'before') throw new NothingDone()
    const effect = this.#effectOf(ask, tx.token)
    await tx.insert(effect)
    if (failure === 'after') throw new NothingDone()
    this.#stop(ask, tx.token)
    return valueOf(effect)
  }

  /** As users do with a transaction of their own. */
  async #askWithin(ask: Ask): Promise<{ value: unknown; replayed: boolean }> {
    const { principal, key } = ask
    const { leaseMs, retentionMs, tombstoneMs } = this.#settings
    const store = this.#store
    const { tx } = await store.open()
    const { connection } = tx
    let result: { value: unknown; replayed: boolean }
    try {
      const call = { operation: 'buy', principal, key, input: ask.request }
      const policy = { lease: leaseMs, retention: retentionMs, tombstone: tombstoneMs }
      result = await this.#idem.within(tx, { ...call, ...policy }, () => this.#inTransaction(ask, tx, 0))
    } catch (error) {
      await store.rollBack(tx)
      throw error
    }
    try {
      const committed = await connection.step('COMMIT', () => store.database.commit(connection.tx, undefined))
      if (committed) return result
    } catch (error) {
      await store.rollBack(tx)
      if (error instanceof StoreError && error.failure === 'lost')
        throw new CallError('commit-unknown', false)
      throw error
    }
    throw new CallError('handler', true)
  }

  #askService<Reply>(name: string, apply: () => Reply): Promise<Reply> {
    const { promise, resolve, reject } = Promise.withResolvers<Reply>()
    // A connection of its own, on which nothing arrives twice.
    const connection = { isOpen: true, arrivesAt: 0, end: () => {} }
    this.#network
      .send<Reply>({
        name,
        process: this.#process,
        server: this.#service,
        apply: (answer) => answer(apply()),
        connection,
      })
      .then(resolve, (error: StoreError) => {
        reject(error.failure === 'transient' ? new NothingDone() : new NobodyKnows())
      })
    return promise
  }

  async #takeTime(): Promise<(typeof failures)[number]> {
    const { tape, quiet } = this.#world
    const takesMs = quiet ? 5 : (handlerMs[tape.weighted('handler takes', handlerChances)] as number)
    const failure = quiet ? 'none' : (failures[tape.weighted('handler fails', failureChances)] ?? 'none')
    if (takesMs > 0) {
      await new Promise<void>((resolve) => void this.#process.runtime.timers.after(takesMs, resolve))
    }
    return failure
  }

  #effectOf({ call, principal, key, request }: Ask, token: string): Effect {
    return { effect: `e${call}`, call, principal, key, request, token }
  }

  #start({ call, principal, key, request }: Ask, token: string, fence: number): void {
    if (this.#started.has(call)) this.#onRerun(call)
    this.#started.add(call)
    const process = this.#process.name
    const { now } = this.#store.database
    this.#world.record({ type: 'start', call, process, principal, key, request, token, fence, now })
    this.#world.tell(() => `  handler of call ${call} starts, fence ${fence}`)
  }

  #stop({ call }: Ask, token: string): void {
    this.#world.record({ type: 'stop', call, token })
  }

  /**
   * What a caller may conclude. Where an effect is elsewhere and the handler has started, nothing; an outcome that
   * has expired may have been its own; and a statement that something between here and the store sends twice may be
   * refused, and applied the second time.
   */
  #asCallError(ask: Ask, error: unknown): CallError {
    if (error instanceof CallError) return error
    if (
      error instanceof Error &&
      (error.message.includes(ask.key) || error.message.includes(ask.principal))
    ) {
      this.#world.record({ type: 'leak', where: `the message of ${error.name}` })
    }
    const code = isIdempotencyError(error) ? error.code : 'handler'
    const { kind } = this.#settings.mode
    const nothing =
      kind === 'lease'
        ? code === 'store-unavailable' || error instanceof NothingDone || !this.#started.has(ask.call)
        : !unsure.has(code) && !(kind === 'statement' && code === 'in-progress')
    return new CallError(code, nothing)
  }
}
