import { createIdempotentFetch } from 'retrysafe/client'
import { fieldsOf, type Placed, send } from './network.ts'

const safeFetch = createIdempotentFetch({ fetch: send, timeout: '1500ms', backoff: '400ms', retries: 6 })

/** The key belongs to the order: both clicks and all retries carry the same one. */
export async function pay(order: Placed, key: string, stop: AbortSignal): Promise<Response> {
  return await safeFetch('/shop/with/charges', {
    method: 'POST',
    headers: fieldsOf(order),
    body: JSON.stringify({ order: order.id, cents: order.cents }),
    signal: stop,
    idempotency: { key },
  })
}
