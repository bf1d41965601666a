/**
 * A charge through got that is safe to retry. While `npm run example -- express` runs:
 *
 *   npx node --import ./scripts/unbuilt.ts examples/client/got.ts
 */
import got from 'got'
import { isClientError } from 'retrysafe/client'
import { callOf, idempotentGot } from 'retrysafe/client/got'

const prefixUrl = process.env['SERVER'] ?? 'http://127.0.0.1:3000'
const api = got.extend({ prefixUrl, responseType: 'json' }, idempotentGot())

try {
  const response = await api.post<{ id: number }>('charges', { json: { amount: 100 } })
  console.log(`Charge ${response.body.id} after ${callOf(response)?.attempts} attempts`)
} catch (error) {
  if (!isClientError(error, 'outcome-unknown')) throw error
  console.log(`Nobody knows: ask again later, with the key ${error.key}`)
}
