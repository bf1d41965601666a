/**
 * One call for one key, as a loop: take the answer that the store has in this process, join this process's flight of
 * the key if there is one, otherwise lead; where the key is in progress and the policy allows waiting, wait for a
 * change and go round again. Lease mode and transaction mode differ only in what a leader does.
 */
import { ClosedError } from '../core/errors.ts'
import type { Fingerprint, RecordId } from '../core/record.ts'
import type { NotRun } from './attempt.ts'
import { reportNotRun } from './events.ts'
import {
  type Flight,
  type FlightControls,
  type Flights,
  type InProgressElsewhere,
  takeOff,
} from './flights.ts'
import type { Machinery } from './machinery.ts'
import { recall, retryAfterMs } from './contest.ts'
import type { Policy } from './policy.ts'
import { waitersPerKeyMax } from './waiters.ts'

/** The identity of one key, worked out once for each call. */
export interface KeyIdentity {
  readonly id: RecordId
  readonly principalTag: string
  readonly operation: string
}

/** What all rounds of one call share. */
export interface Call {
  readonly machinery: Machinery
  readonly flights: Flights
  readonly identity: KeyIdentity
  readonly fingerprint: Fingerprint
  readonly policy: Policy
  readonly signal: AbortSignal | undefined
}

/**
 * What a leader does: contest the key, tell the flight how that ended with `controls.begin`, and resolve to
 * what its own caller gets. It rejects only when the handler did not run or the caller must know why it failed.
 */
export type Lead<Led extends { readonly kind: string }> = (
  controls: FlightControls,
) => Promise<Led | LeaderNotRun>

/** What a leader answers when it does not run. */
export type LeaderNotRun = Exclude<NotRun, { kind: 'in-progress' }> | InProgressElsewhere

const again = Symbol('again')

/** Goes round until the call has an end. */
export async function goRounds<Led extends { readonly kind: string }>(
  call: Call,
  lead: Lead<Led>,
): Promise<Led | NotRun> {
  let waitUntil: number | undefined
  for (;;) {
    if (call.machinery.isClosed()) throw new ClosedError('instance')
    call.signal?.throwIfAborted()
    const recalled = recallOwn(call)
    if (recalled !== undefined) return recalled
    waitUntil ??= call.machinery.runtime.clock.monotonic() + call.policy.waitMs
    const flight = call.flights.get(call.identity.id)
    const end =
      flight === undefined ? await leadRound(call, lead, waitUntil) : await join(call, flight, waitUntil)
    if (end !== again) return end
  }
}

/** Before anything is sent, and before a transaction is opened. */
function recallOwn({ machinery, identity, fingerprint, policy }: Call): NotRun | undefined {
  const { store, seal } = machinery
  if (store.recall === undefined) return undefined
  const end = recall(store, { id: identity.id, fingerprint, onUnknown: policy.onUnknown }, seal)
  if (end !== undefined) reportNotRun(identity, end)
  return end
}

async function leadRound<Led extends { readonly kind: string }>(
  call: Call,
  lead: Lead<Led>,
  waitUntil: number,
): Promise<Led | NotRun | typeof again> {
  const controls = takeOff(call.flights, call.identity.id, call.fingerprint)
  let end: Led | LeaderNotRun
  try {
    end = await lead(controls)
  } catch (error) {
    // Duplicates share the leader's failure, but not that its caller went away.
    controls.begin(call.signal?.aborted === true ? movedOn : { kind: 'failed', error })
    throw error
  }
  if (end.kind === 'in-progress') return await waitElsewhere(call, end as InProgressElsewhere, waitUntil)
  const final = end as Led | NotRun
  if (isNotRun(final)) reportNotRun(call.identity, final)
  return final
}

async function join(call: Call, flight: Flight, waitUntil: number): Promise<NotRun | typeof again> {
  const leader = await flight.begun
  const end = await joinAs(call, flight, leader, waitUntil)
  if (end !== again) reportNotRun(call.identity, end)
  return end
}

async function joinAs(
  call: Call,
  flight: Flight,
  leader: Awaited<Flight['begun']>,
  waitUntil: number,
): Promise<NotRun | typeof again> {
  const sameRequest = flight.fingerprint === call.fingerprint
  if (leader.kind === 'run') {
    if (!sameRequest) return { kind: 'mismatch' }
    return await waitForFlight(call, flight, leader.leaseLeftMs(), waitUntil)
  }
  // The leader's answer is the answer of every duplicate of the same request; others must ask themselves.
  if (!sameRequest) return again
  if (leader.kind === 'failed') throw leader.error
  return leader.kind === 'in-progress' ? await waitElsewhere(call, leader, waitUntil, false) : leader
}

/** Waits for the attempt that this process runs. */
async function waitForFlight(
  call: Call,
  flight: Flight,
  leaseLeftMs: number,
  waitUntil: number,
): Promise<NotRun | typeof again> {
  const { clock, timers } = call.machinery.runtime
  const timeoutMs = waitUntil - clock.monotonic()
  const inProgress: NotRun = { kind: 'in-progress', retryAfterMs: retryAfterMs(leaseLeftMs) }
  if (timeoutMs <= 0 || flight.waiting >= waitersPerKeyMax) return inProgress

  const stop = Promise.withResolvers<'stopped'>()
  const stopWaiting = (): void => stop.resolve('stopped')
  flight.waiting++
  const cancel = timers.after(timeoutMs, stopWaiting)
  call.signal?.addEventListener('abort', stopWaiting)
  const end = await Promise.race([flight.ended, stop.promise])
  cancel()
  call.signal?.removeEventListener('abort', stopWaiting)
  flight.waiting--

  if (end === 'stopped') {
    call.signal?.throwIfAborted()
    return inProgress
  }
  return end.kind === 'completed' ? { kind: 'replay', outcome: end.outcome } : again
}

/** Waits while another process runs the key. */
async function waitElsewhere(
  call: Call,
  end: InProgressElsewhere,
  waitUntil: number,
  reports = true,
): Promise<NotRun | typeof again> {
  const { machinery, identity, signal } = call
  const timeoutMs = waitUntil - machinery.runtime.clock.monotonic()
  const inProgress: NotRun = { kind: 'in-progress', retryAfterMs: end.retryAfterMs }
  if (timeoutMs > 0) {
    const wait = await machinery.waiters.untilChanged(identity.id, end.token, timeoutMs, signal)
    if (wait === 'changed' || wait === 'aborted') return again
  }
  if (reports) reportNotRun(identity, inProgress)
  return inProgress
}

const movedOn: InProgressElsewhere = { kind: 'in-progress', retryAfterMs: 1, token: '' }

const notRunKinds: readonly string[] = ['replay', 'mismatch', 'in-progress', 'unknown', 'expired']

function isNotRun(end: { readonly kind: string }): end is NotRun {
  return notRunKinds.includes(end.kind)
}
