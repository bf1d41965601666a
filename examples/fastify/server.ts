/**
 * A charge that is safe to retry, on Fastify. From the root of a clone:
 *
 *   npm run example -- fastify
 */
import Fastify from 'fastify'
import { createIdempotency } from 'retrysafe'
import { idempotency } from 'retrysafe/http/fastify'
import { sqliteStore } from 'retrysafe/stores/sqlite'

const idem = createIdempotency({ store: sqliteStore({ file: process.env['DB'] ?? './idempotency.db' }) })
const app = Fastify()
let charges = 0

await app.register(idempotency, {
  idem,
  principal: (request) => request.headers['x-tenant']?.toString() ?? 'anonymous',
})

app.post('/charges', { config: { idempotency: { required: true } } }, async (request, reply) => {
  charges += 1
  const { amount } = request.body as { amount: number }
  return await reply.code(201).header('Location', `/charges/${charges}`).send({ id: charges, amount })
})

app.get('/charges', async () => ({ charges }))

const origin = await app.listen({ port: Number(process.env['PORT'] ?? 3000), host: '127.0.0.1' })
console.log(`Listening on ${origin}`)
