/**
 * Renews the leases of this process's holders, every third of their length, in batches.
 *
 * Holders with one lease length share a lane, a queue in the order of their next renewal, so that a holder
 * that ends early (nearly all do) costs one insertion and one removal and no timer.
 */
import type { Clock, Timers } from '../core/runtime.ts'
import type { Coalescer } from './coalescer.ts'
import type { RecordId } from '../core/record.ts'

/** A holder as the keeper sees it. */
export interface Held {
  readonly id: RecordId
  readonly token: string
  readonly leaseMs: number
  /** Monotonic time after which the lease is left to run out: the handler has had its time. */
  readonly renewUntil: number
  /** Monotonic time until which this process knows that it holds the lease; moved on by each renewal. */
  deadline: number
  /** Called once: the lease is lost to another holder, was not renewed before `deadline`, or is renewed no more. */
  onLost(): void
}

interface Lane {
  /** In the order of `due`, which a renewal moves to the end. */
  readonly held: Map<Held, { due: number }>
  armed: boolean
}

export interface LeaseKeeper {
  keep(held: Held): void
  /** Ends the renewing; nothing is sent to the store. */
  drop(held: Held): void
  close(): void
}

/** A renewal that failed is tried again this many times sooner than a regular one. */
const hurry = 4

export function createLeaseKeeper(coalescer: Coalescer, clock: Clock, timers: Timers): LeaseKeeper {
  const lanes = new Map<number, Lane>()
  let closed = false

  function arm(lane: Lane, delayMs: number): void {
    lane.armed = true
    timers.background(Math.max(1, delayMs), () => {
      lane.armed = false
      if (!closed) renewDue(lane)
    })
  }

  function renewDue(lane: Lane): void {
    const now = clock.monotonic()
    for (const [held, state] of lane.held) {
      if (state.due > now) break
      lane.held.delete(held)
      if (now >= held.deadline || now >= held.renewUntil) {
        held.onLost()
        continue
      }
      lane.held.set(held, { due: now + held.leaseMs / 3 })
      void renew(lane, held)
    }
    const next = lane.held.values().next()
    if (!next.done) arm(lane, next.value.due - now)
  }

  async function renew(lane: Lane, held: Held): Promise<void> {
    const sentAt = clock.monotonic()
    try {
      const { reply } = await coalescer.renew({ id: held.id, token: held.token, leaseMs: held.leaseMs })
      if (reply.kind === 'renewed') held.deadline = sentAt + held.leaseMs
      else if (lane.held.delete(held)) held.onLost()
    } catch {
      // The store could not say. Other holders of the lane need not wait for this one's retry.
      timers.background(held.leaseMs / 3 / hurry, () => {
        if (closed || !lane.held.has(held)) return
        if (clock.monotonic() < held.deadline) void renew(lane, held)
        else if (lane.held.delete(held)) held.onLost()
      })
    }
  }

  return {
    keep(held: Held): void {
      let lane = lanes.get(held.leaseMs)
      if (lane === undefined) {
        lane = { held: new Map(), armed: false }
        lanes.set(held.leaseMs, lane)
      }
      const now = clock.monotonic()
      lane.held.set(held, { due: now + held.leaseMs / 3 })
      if (!lane.armed) arm(lane, held.leaseMs / 3)
    },
    drop(held: Held): void {
      lanes.get(held.leaseMs)?.held.delete(held)
    },
    close(): void {
      closed = true
      for (const lane of lanes.values()) lane.held.clear()
    },
  }
}
