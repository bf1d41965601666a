/**
 * A charge through openapi-fetch that is safe to retry. While `npm run example -- express` runs:
 *
 *   npx node --import ./scripts/unbuilt.ts examples/client/openapi-fetch.ts
 */
import createClient from 'openapi-fetch'
import { isClientError } from 'retrysafe/client'
import { callOf, idempotentOpenapiFetch } from 'retrysafe/client/openapi-fetch'

/** As openapi-typescript writes it. */
interface paths {
  '/charges': {
    post: {
      requestBody: { content: { 'application/json': { amount: number } } }
      responses: { 201: { content: { 'application/json': { id: number } } } }
    }
  }
}

const client = createClient<paths>({
  baseUrl: process.env['SERVER'] ?? 'http://127.0.0.1:3000',
  fetch: idempotentOpenapiFetch(),
})

try {
  const { data, response } = await client.POST('/charges', { body: { amount: 100 } })
  console.log(`Charge ${data?.id} after ${callOf(response)?.attempts} attempts`)
} catch (error) {
  if (!isClientError(error, 'outcome-unknown')) throw error
  console.log(`Nobody knows: ask again later, with the key ${error.key}`)
}
