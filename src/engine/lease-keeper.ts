/**
 * Renews the leases of this process's holders, every third of their length, in batches.
 *
 * Holders with one lease length share a lane, a queue in the order of their next renewal, so that a holder
 * that ends early (nearly all do) costs one insertion and one removal and no timer.
 *
 * A lease that lasts until its handler's time is over is never renewed: one timer ends it. Where every call has a
 * lease length of its own, as in AWS Lambda, that also leaves no lane behind.
 */
import type { Cancel, Clock, Timers } from '../core/runtime.ts'
import type { Coalescer } from './coalescer.ts'
import { DueQueue, type Queued } from './due-queue.ts'
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
  /** By their next renewal, which moves a holder to the end. */
  readonly queue: DueQueue<Held>
  armed: boolean
}

/** A holder whose lease is renewed, or what cancels the timer of one whose lease is not. */
export type Kept = Queued<Held> | Cancel

export interface LeaseKeeper {
  keep(held: Held): Kept
  /** Ends the renewing; nothing is sent to the store. */
  drop(kept: Kept): void
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
    const { queue } = lane
    const now = clock.monotonic()
    for (let { first } = queue; first !== undefined && first.due <= now; { first } = queue) {
      const { item: held } = first
      if (now >= held.deadline || now >= held.renewUntil) {
        queue.remove(first)
        held.onLost()
        continue
      }
      queue.postpone(first, now + held.leaseMs / 3)
      void renew(queue, first)
    }
    if (queue.first !== undefined) arm(lane, queue.first.due - now)
  }

  async function renew(queue: DueQueue<Held>, kept: Queued<Held>): Promise<void> {
    const { item: held } = kept
    const sentAt = clock.monotonic()
    try {
      const { reply } = await coalescer.renew({ id: held.id, token: held.token, leaseMs: held.leaseMs })
      if (reply.kind === 'renewed') held.deadline = sentAt + held.leaseMs
      else if (queue.remove(kept)) held.onLost()
    } catch {
      // The store could not say. Other holders of the lane need not wait for this one's retry.
      timers.background(held.leaseMs / 3 / hurry, () => {
        if (closed || !queue.has(kept)) return
        if (clock.monotonic() < held.deadline) void renew(queue, kept)
        else if (queue.remove(kept)) held.onLost()
      })
    }
  }

  /** Nobody renews this lease, so nobody would notice that its handler's time is over. */
  function endInTime(held: Held): Cancel {
    return timers.background(Math.max(1, held.renewUntil - clock.monotonic()), () => {
      if (!closed) held.onLost()
    })
  }

  return {
    keep(held: Held): Kept {
      if (held.deadline >= held.renewUntil) return endInTime(held)
      let lane = lanes.get(held.leaseMs)
      if (lane === undefined) {
        lane = { queue: new DueQueue(), armed: false }
        lanes.set(held.leaseMs, lane)
      }
      const kept = lane.queue.add(held, clock.monotonic() + held.leaseMs / 3)
      if (!lane.armed) arm(lane, held.leaseMs / 3)
      return kept
    },
    drop(kept: Kept): void {
      if (typeof kept === 'function') kept()
      else lanes.get(kept.item.leaseMs)?.queue.remove(kept)
    },
    close(): void {
      closed = true
      for (const lane of lanes.values()) lane.queue.clear()
    },
  }
}
