/**
 * A charge through `fetch` that is safe to retry. While `npm run example -- express` runs:
 *
 *   npx node --import ./scripts/unbuilt.ts examples/client/fetch.ts
 */
import { callOf, createIdempotentFetch, isClientError } from 'retrysafe/client'

const server = process.env['SERVER'] ?? 'http://127.0.0.1:3000'
const pay = createIdempotentFetch()

try {
  const response = await pay(`${server}/charges`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ amount: 100 }),
  })
  const charge = (await response.json()) as { id: number }
  console.log(`Charge ${charge.id} after ${callOf(response)?.attempts} attempts`)
} catch (error) {
  if (!isClientError(error, 'outcome-unknown')) throw error
  console.log(`Nobody knows: ask again later, with the key ${error.key}`)
}
