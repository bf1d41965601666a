/** What both clients share: the way to the front, and the names by which it follows what they send. */
import type { Order } from '../../happenings.ts'

/** An order, and which click on the button a call is for. */
export type Placed = Order & { readonly click: number }

export function fieldsOf({ id, customer, click }: Placed): Record<string, string> {
  return {
    'Content-Type': 'application/json',
    'X-Customer': customer,
    'X-Order': id,
    'X-Click': `${click}`,
  }
}

/** `fetch`, with a name for each attempt, so that the front knows one that the browser sends again by itself. */
export const send = (input: RequestInfo, init: RequestInit): Promise<Response> => {
  const headers = new Headers(init.headers)
  headers.set('X-Attempt', crypto.randomUUID())
  return fetch(input, { ...init, headers })
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
