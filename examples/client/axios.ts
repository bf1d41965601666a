/**
 * A charge through axios that is safe to retry. While `npm run example -- express` runs:
 *
 *   npx node --import ./scripts/unbuilt.ts examples/client/axios.ts
 */
import axios from 'axios'
import { isClientError } from 'retrysafe/client'
import { callOf, idempotentAdapter } from 'retrysafe/client/axios'

const api = axios.create({
  baseURL: process.env['SERVER'] ?? 'http://127.0.0.1:3000',
  adapter: idempotentAdapter(axios),
})

try {
  const response = await api.post<{ id: number }>('/charges', { amount: 100 })
  console.log(`Charge ${response.data.id} after ${callOf(response)?.attempts} attempts`)
} catch (error) {
  if (!isClientError(error, 'outcome-unknown')) throw error
  console.log(`Nobody knows: ask again later, with the key ${error.key}`)
}
