/**
 * A charge through ky that is safe to retry. While `npm run example -- express` runs:
 *
 *   npx node --import ./scripts/unbuilt.ts examples/client/ky.ts
 */
import ky from 'ky'
import { isClientError } from 'retrysafe/client'
import { callOf, idempotentKy } from 'retrysafe/client/ky'

const api = ky.extend({ prefix: process.env['SERVER'] ?? 'http://127.0.0.1:3000', ...idempotentKy() })

try {
  const response = await api.post<{ id: number }>('charges', { json: { amount: 100 } })
  console.log(`Charge ${(await response.json()).id} after ${callOf(response)?.attempts} attempts`)
} catch (error) {
  if (!isClientError(error, 'outcome-unknown')) throw error
  console.log(`Nobody knows: ask again later, with the key ${error.key}`)
}
