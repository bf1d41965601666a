/**
 * Lease mode: for effects that live elsewhere. Claim, run under a renewed lease, settle under a token.
 */
import { OutcomeUnknownError, StoreError, StoreUnavailableError } from '../core/errors.ts'
import type { Claim } from '../core/store.ts'
import type { Begun, NotRun, Reconcile } from './attempt.ts'
import { asSeen, contest, type ContestEnd, retryAfterMs } from './contest.ts'
import { report } from './events.ts'
import type { FlightControls } from './flights.ts'
import { LeaseAttempt } from './lease-attempt.ts'
import { type Call, goRounds, type LeaderNotRun } from './rounds.ts'
import { resend } from './store-retry.ts'

/** How long a claim is sent again when the store does not answer; the handler has not run meanwhile. */
export const claimBudgetMs = 3_000
/** A holder must have at least this part of its lease left when the handler starts. */
const leasePartAtStart = 0.5
/** A claim whose answer came too late is renewed at most so often before it is given up. */
const freshenMax = 3

/**
 * Wins the right to run a key, or tells why not.
 *
 * @throws StoreUnavailableError when the store cannot be asked; the handler must not run
 * @throws UnreadableOutcomeError when the stored outcome cannot be read
 */
export function beginLease(call: Call, reconcile: Reconcile | undefined): Promise<Begun> {
  return goRounds(call, async (controls) => {
    const won = await claimInTime(call)
    const end = won.kind === 'won' ? await start(call, controls, won, reconcile) : won
    if (end.kind === 'run') {
      const { attempt } = end
      const { clock } = call.machinery.runtime
      controls.begin({ kind: 'run', leaseLeftMs: () => attempt.deadline - clock.monotonic() })
    } else {
      controls.begin(end)
    }
    return end
  })
}

/** A won contest, with the claim that won and the monotonic end of its lease. */
type Won = Extract<ContestEnd, { kind: 'won' }> & { readonly claim: Claim; readonly deadline: number }

/** Claims, and makes sure that enough of the lease is left to start a handler. */
async function claimInTime(call: Call): Promise<Won | LeaderNotRun> {
  const { coalescer, runtime, seal } = call.machinery
  const { onUnknown, leaseMs } = call.policy
  const claim = newClaim(call)
  const { id, token } = claim

  // Taken before anything is sent: however late the answer comes, the lease cannot have begun earlier.
  let deadline = runtime.clock.monotonic() + leaseMs
  try {
    const end = await resend(runtime, claimBudgetMs, () => contest(coalescer, claim, onUnknown, seal))
    if (end.kind !== 'won') return asLeaderNotRun(end)
    for (let freshened = 0; isTooLate(call, deadline); freshened++) {
      if (freshened === freshenMax)
        throw new StoreError('transient', 'The store answers slower than the lease.')
      deadline = runtime.clock.monotonic() + leaseMs
      const { reply } = await coalescer.renew({ id, token, leaseMs })
      if (reply.kind === 'lost')
        return { kind: 'in-progress', retryAfterMs: retryAfterMs(leaseMs), token: '' }
    }
    return { ...end, claim, deadline }
  } catch (error) {
    if (!(error instanceof StoreError)) throw error
    abandon(call, claim)
    throw new StoreUnavailableError({ cause: error })
  }
}

/** A claim of this call's key under a fresh token. */
export function newClaim({ machinery, identity, fingerprint, policy }: Call): Claim {
  const { id, principalTag, operation } = identity
  const { leaseMs, retentionMs } = policy
  const token = machinery.runtime.random.token()
  return { id, fingerprint, token, leaseMs, retentionMs, operation, principalTag }
}

/** A lost contest as the leader's answer. */
export function asLeaderNotRun(end: Exclude<ContestEnd, { kind: 'won' }>): LeaderNotRun {
  if (end.kind !== 'in-progress') return end
  return { kind: 'in-progress', retryAfterMs: retryAfterMs(end.leaseLeftMs), token: end.token }
}

function isTooLate(call: Call, deadline: number): boolean {
  const leftMs = deadline - call.machinery.runtime.clock.monotonic()
  return leftMs < call.policy.leaseMs * leasePartAtStart
}

/**
 * A claim whose answer never came may still have been applied. No handler ran under it, so it is released in
 * the background; where that fails too, the lease ends it.
 */
function abandon({ machinery }: Call, claim: Claim): void {
  const { id, token, leaseMs } = claim
  const release = { id, token, to: 'released', markerMs: claim.retentionMs } as const
  resend(machinery.runtime, leaseMs, () => machinery.coalescer.settle(release)).catch(() => {})
}

async function start(
  call: Call,
  controls: FlightControls,
  won: Won,
  reconcile: Reconcile | undefined,
): Promise<{ readonly kind: 'run'; readonly attempt: LeaseAttempt } | LeaderNotRun> {
  const { machinery, identity, policy, signal } = call
  report('claimed', () => ({ id: identity.id, operation: identity.operation, fence: won.fence }))
  const attempt = new LeaseAttempt({
    claim: won.claim,
    fence: won.fence,
    deadline: won.deadline,
    policy,
    machinery,
    afterLoss: () => lookAfterLoss(call),
    onEnd: controls.end,
  })
  if (signal?.aborted === true) {
    await attempt.release()
    signal.throwIfAborted()
  }
  if (!won.reconcile || reconcile === undefined) return { kind: 'run', attempt }
  return await ask(attempt, reconcile)
}

/** Asks the operation what became of the earlier attempt. A question that fails leaves the outcome unknown. */
async function ask(
  attempt: LeaseAttempt,
  reconcile: Reconcile,
): Promise<{ readonly kind: 'run'; readonly attempt: LeaseAttempt } | LeaderNotRun> {
  let adopted: Awaited<ReturnType<Reconcile>>
  try {
    adopted = await reconcile(attempt)
  } catch (error) {
    await attempt.unknown()
    throw new OutcomeUnknownError(true, { cause: error })
  }
  if (adopted === undefined) return { kind: 'run', attempt }
  const settled = await attempt.complete(adopted)
  if (settled.kind === 'settled') return { kind: 'replay', outcome: settled.outcome ?? adopted }
  return settled.instead.kind === 'in-progress' ? { ...settled.instead, token: '' } : settled.instead
}

/** What a holder that lost its record tells its caller: the winner's outcome, or that it is in progress. */
async function lookAfterLoss({ machinery, identity, policy, fingerprint }: Call): Promise<NotRun> {
  const { runtime, coalescer } = machinery
  try {
    const { reply: record, now } = await resend(runtime, claimBudgetMs, () => coalescer.read(identity.id))
    return asSeen(
      record,
      { id: identity.id, fingerprint, token: '', onUnknown: policy.onUnknown },
      now,
      machinery.seal,
    )
  } catch (error) {
    if (error instanceof StoreError) throw new OutcomeUnknownError(false, { cause: error })
    throw error
  }
}
