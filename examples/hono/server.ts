/**
 * A charge that is safe to retry, on Hono. From the root of a clone:
 *
 *   npm run example -- hono
 */
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { createIdempotency } from 'retrysafe'
import { idempotent } from 'retrysafe/http/hono'
import { sqliteStore } from 'retrysafe/stores/sqlite'

const idem = createIdempotency({ store: sqliteStore({ file: process.env['DB'] ?? './idempotency.db' }) })
const app = new Hono()
let charges = 0

app.post(
  '/charges',
  idempotent(idem, { principal: (c) => c.req.header('x-tenant') ?? 'anonymous', required: true }),
  async (c) => {
    const { amount } = await c.req.json<{ amount: number }>()
    charges += 1
    return c.json({ id: charges, amount }, 201, { Location: `/charges/${charges}` })
  },
)

app.get('/charges', (c) => c.json({ charges }))

serve({ fetch: app.fetch, port: Number(process.env['PORT'] ?? 3000), hostname: '127.0.0.1' }, ({ port }) => {
  console.log(`Listening on http://127.0.0.1:${port}`)
})
