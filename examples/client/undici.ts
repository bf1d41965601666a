/**
 * A charge through undici that is safe to retry. While `npm run example -- express` runs:
 *
 *   npx node --import ./scripts/unbuilt.ts examples/client/undici.ts
 */
import { isClientError } from 'retrysafe/client'
import { callOf, idempotentInterceptor } from 'retrysafe/client/undici'
import { Agent, request } from 'undici'

const server = process.env['SERVER'] ?? 'http://127.0.0.1:3000'
const dispatcher = new Agent().compose(idempotentInterceptor())

try {
  const response = await request(`${server}/charges`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ amount: 100 }),
    dispatcher,
  })
  const charge = (await response.body.json()) as { id: number }
  console.log(`Charge ${charge.id} after ${callOf(response)?.attempts} attempts`)
} catch (error) {
  if (!isClientError(error, 'outcome-unknown')) throw error
  console.log(`Nobody knows: ask again later, with the key ${error.key}`)
} finally {
  await dispatcher.close()
}
