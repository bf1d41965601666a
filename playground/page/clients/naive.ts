import { fieldsOf, type Placed, pause, send } from './network.ts'

/** As it is often written by hand: what fails or takes too long is sent again. */
export async function pay(order: Placed, stop: AbortSignal): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await send('/shop/without/charges', {
        method: 'POST',
        headers: fieldsOf(order),
        body: JSON.stringify({ order: order.id, cents: order.cents }),
        signal: AbortSignal.any([stop, AbortSignal.timeout(1_500)]),
      })
    } catch (error) {
      if (stop.aborted || attempt === 5) throw error
      await pause(500)
    }
  }
}
