/**
 * A won attempt in lease mode, until it is settled.
 *
 * held     the lease is live and renewed; the handler runs. Left by a settle, or by losing the lease.
 * lost     another holder may be running: the signal is aborted. A settle is still tried, since the token
 *          decides: it succeeds where nobody took over.
 * settled  exactly one of complete, release and unknown was called; nothing leaves it.
 */
import { LeaseLostError, OutcomeUnknownError, StoreError } from '../core/errors.ts'
import type { Outcome } from '../core/outcome.ts'
import type { RecordId } from '../core/record.ts'
import type { Claim, Settlement } from '../core/store.ts'
import { judgeRefusedSettle } from '../core/transitions.ts'
import type { Attempt, NotRun, Settled } from './attempt.ts'
import { type EngineEventName, report } from './events.ts'
import type { AttemptEnd, FlightControls } from './flights.ts'
import type { Held, Kept } from './lease-keeper.ts'
import type { Machinery } from './machinery.ts'
import { fitOutcome } from './outcome-fit.ts'
import type { Policy } from './policy.ts'
import { resend } from './store-retry.ts'

/** How long a settle is sent again when the store does not answer; the caller waits meanwhile. */
export const settleBudgetMs = 5_000

export class LeaseAttempt implements Attempt, Held {
  readonly id: RecordId
  readonly token: string
  readonly fence: number
  readonly leaseMs: number
  readonly renewUntil: number
  deadline: number
  readonly #claim: Claim
  readonly #policy: Policy
  readonly #machinery: Machinery
  readonly #startedAt: number
  readonly #afterLoss: () => Promise<NotRun>
  readonly #flight: Pick<FlightControls, 'end'>
  readonly #kept: Kept
  #abort: AbortController | undefined
  #lost = false
  #isSettling = false

  constructor(given: {
    claim: Claim
    fence: number
    deadline: number
    policy: Policy
    machinery: Machinery
    afterLoss: () => Promise<NotRun>
    flight: Pick<FlightControls, 'end'>
  }) {
    this.id = given.claim.id
    this.token = given.claim.token
    this.leaseMs = given.claim.leaseMs
    this.fence = given.fence
    this.deadline = given.deadline
    this.#claim = given.claim
    this.#policy = given.policy
    this.#machinery = given.machinery
    this.#afterLoss = given.afterLoss
    this.#flight = given.flight
    this.#startedAt = given.machinery.runtime.clock.monotonic()
    // From the claim on, as the lease: one that covers the handler's whole time is then never renewed.
    this.renewUntil = given.deadline - this.leaseMs + given.policy.timeoutMs
    this.#kept = given.machinery.keeper.keep(this)
  }

  /** Made on first use: most handlers never look at it. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController()
      if (this.#lost) this.#abort.abort(new LeaseLostError())
    }
    return this.#abort.signal
  }

  /** Whether another holder may be running. */
  get isLost(): boolean {
    return this.#lost
  }

  onLost(): void {
    if (!this.#isSettling) this.#lose()
  }

  #lose(): void {
    if (this.#lost) return
    this.#lost = true
    report('lease-lost', () => ({ id: this.id, operation: this.#claim.operation, fence: this.fence }))
    this.#abort?.abort(new LeaseLostError())
    // Duplicates in this process must ask the store from now on: another holder may run, or the lease be over.
    this.#flight.end({ kind: 'open' })
  }

  downstreamKey(name: string): string {
    return this.#machinery.downstreamKey(this.id, name)
  }

  async complete(outcome: Outcome): Promise<Settled> {
    this.#takeSettling()
    const fitted = fitOutcome(this.#machinery, this.id, outcome)
    return await this.#settle(
      {
        id: this.id,
        token: this.token,
        to: 'completed',
        outcome: fitted.bytes,
        retentionMs: this.#policy.retentionMs,
        tombstoneMs: this.#policy.tombstoneMs,
      },
      'completed',
      { kind: 'completed', outcome: fitted.outcome },
    )
  }

  async release(): Promise<Settled> {
    this.#takeSettling()
    const { id, token } = this
    const markerMs = this.#policy.releaseMarkerMs
    return await this.#settle({ id, token, to: 'released', markerMs }, 'released', { kind: 'open' })
  }

  async unknown(): Promise<Settled> {
    this.#takeSettling()
    const { id, token } = this
    const retentionMs = this.#policy.retentionMs
    return await this.#settle({ id, token, to: 'unknown', retentionMs }, 'unknown', { kind: 'open' })
  }

  /** Comes before anything runs, so that no second settle can slip in. */
  #takeSettling(): void {
    if (this.#isSettling) throw new Error('This attempt was settled before: settle each attempt once.')
    this.#isSettling = true
  }

  async #settle(settlement: Settlement, event: SettleEvent, end: AttemptEnd): Promise<Settled> {
    const { coalescer, runtime, keeper } = this.#machinery
    try {
      const { reply } = await resend(runtime, settleBudgetMs, () => coalescer.settle(settlement))
      if (reply.kind === 'settled' || this.#wasApplied(reply.record, settlement)) {
        report(event, () => ({
          id: this.id,
          operation: this.#claim.operation,
          fence: this.fence,
          durationMs: runtime.clock.monotonic() - this.#startedAt,
        }))
        this.#flight.end(end)
        return { kind: 'settled', outcome: end.kind === 'completed' ? end.outcome : undefined }
      }
    } catch (error) {
      this.#flight.end({ kind: 'open' })
      if (error instanceof StoreError) throw new OutcomeUnknownError(false, { cause: error })
      throw error
    } finally {
      keeper.drop(this.#kept)
    }
    this.#lose()
    return { kind: 'lost', instead: await this.#afterLoss() }
  }

  #wasApplied(record: Parameters<typeof judgeRefusedSettle>[0], settlement: Settlement): boolean {
    return judgeRefusedSettle(record, this.token, settlement.to).kind === 'already-settled'
  }
}

type SettleEvent = Extract<EngineEventName, 'completed' | 'released' | 'unknown'>
