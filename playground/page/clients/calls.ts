/** Presses the button on both sides, and tells the front how each call ended. */
import { callOf, isClientError, newKey } from 'retrysafe/client'
import { type CallOutcome, type Fault, type Order, type Side } from '../../happenings.ts'
import { euros } from '../money.ts'
import * as naive from './naive.ts'
import type { Placed } from './network.ts'
import * as safe from './safe.ts'

type Ended = Omit<CallOutcome, 'kind' | 'click'>

export async function placeOrder(clicks: 1 | 2, fault: Fault | null, stop: AbortSignal): Promise<Order> {
  const answer = await post('/playground/orders', { clicks, fault }, stop)
  return (await answer.json()) as Order
}

/** Pays for an order on both sides. Resolves when all calls have ended. */
export async function payOrder(order: Order, stop: AbortSignal): Promise<void> {
  const key = newKey()
  const clicks = Array.from({ length: order.clicks }, (_, at) => ({ ...order, click: at + 1 }))
  await Promise.all(
    clicks.flatMap((placed) => [
      tell('without', placed, stop, () => naive.pay(placed, stop)),
      tell('with', placed, stop, () => safe.pay(placed, key, stop)),
    ]),
  )
}

export async function reset(): Promise<void> {
  await post('/playground/reset', {})
}

async function tell(
  side: Side,
  { id, click }: Placed,
  stop: AbortSignal,
  call: () => Promise<Response>,
): Promise<void> {
  const outcome = await endOf(call)
  if (!stop.aborted)
    await post('/playground/outcomes', { order: id, side, outcome: { ...outcome, click } }, stop)
}

async function endOf(call: () => Promise<Response>): Promise<Ended> {
  try {
    const response = await call()
    if (!response.ok) return { result: 'failed', text: `Not paid (${response.status}).`, replayed: false }
    const { cents } = (await response.json()) as { cents: number }
    const replayed = callOf(response)?.replayed === true
    return { result: 'paid', text: `Paid ${euros(cents)}.`, replayed }
  } catch (error) {
    if (isClientError(error, 'not-applied')) return { result: 'failed', text: 'Not paid.', replayed: false }
    return { result: 'unknown', text: 'We do not know whether it was paid.', replayed: false }
  }
}

async function post(path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
  return await fetch(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
    ...(signal !== undefined && { signal }),
  })
}
