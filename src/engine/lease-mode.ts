/**
 * Lease mode: for effects that live elsewhere. Claim, run under a renewed lease, settle under a token.
 */
import { OutcomeUnknownError, StoreError, StoreUnavailableError } from '../core/errors.ts'
import type { Claim } from '../core/store.ts'
import type { Begun, NotRun, Reconcile } from './attempt.ts'
import { asSeen, contest, contested, type ContestEnd, retryAfterMs } from './contest.ts'
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

  // Taken before anything is sent: however late the answer comes, the lease cannot have begun earlier.
  const deadline = runtime.clock.monotonic() + leaseMs
  try {
    const asked = contested(claim)
    const end = await resend(runtime, claimBudgetMs, () => contest(coalescer, asked, onUnknown, seal))
    if (end.kind !== 'won') return asLeaderNotRun(end)
    const fresh = await freshen(call, claim, deadline)
    return fresh === 'lost' ? lostBeforeStart(call) : { ...end, claim, deadline: fresh }
  } catch (error) {
    if (!(error instanceof StoreError)) throw error
    abandon(call, claim)
    throw new StoreUnavailableError({ cause: error })
  }
}

/**
 * Renews a lease of which too little is left to start a handler, and resolves to its deadline.
 *
 * @throws StoreError
 */
async function freshen(call: Call, { id, token }: Claim, deadline: number): Promise<number | 'lost'> {
  const { coalescer, runtime } = call.machinery
  const { leaseMs } = call.policy
  let until = deadline
  for (let freshened = 0; isTooLate(call, until); freshened++) {
    if (freshened === freshenMax)
      throw new StoreError('transient', 'The store answers slower than the lease.')
    until = runtime.clock.monotonic() + leaseMs
    const { reply } = await coalescer.renew({ id, token, leaseMs })
    if (reply.kind === 'lost') return 'lost'
  }
  return until
}

function lostBeforeStart({ policy }: Call): LeaderNotRun {
  return { kind: 'in-progress', retryAfterMs: retryAfterMs(policy.leaseMs), token: '' }
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
    flight: controls,
  })
  if (signal?.aborted === true) {
    await attempt.release()
    signal.throwIfAborted()
  }
  if (!won.reconcile || reconcile === undefined) return { kind: 'run', attempt }
  return await ask(call, won.claim, attempt, reconcile)
}

/** Asks the operation what became of the earlier attempt. A question that fails leaves the outcome unknown. */
async function ask(
  call: Call,
  claim: Claim,
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
  if (adopted === undefined) return await startAfterAll(call, claim, attempt)
  const settled = await attempt.complete(adopted)
  if (settled.kind === 'settled') return { kind: 'replay', outcome: settled.outcome ?? adopted }
  return settled.instead.kind === 'in-progress' ? { ...settled.instead, token: '' } : settled.instead
}

/** Asking takes time: the handler starts only where enough of the lease is left after it. */
async function startAfterAll(
  call: Call,
  claim: Claim,
  attempt: LeaseAttempt,
): Promise<{ readonly kind: 'run'; readonly attempt: LeaseAttempt } | LeaderNotRun> {
  try {
    const fresh = await freshen(call, claim, attempt.deadline)
    if (fresh !== 'lost') attempt.deadline = Math.max(attempt.deadline, fresh)
    if (fresh !== 'lost' && !attempt.isLost) return { kind: 'run', attempt }
  } catch (error) {
    if (!(error instanceof StoreError)) throw error
    await attempt.unknown()
    throw new StoreUnavailableError({ cause: error })
  }
  const settled = await attempt.release()
  if (settled.kind === 'settled') return lostBeforeStart(call)
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
