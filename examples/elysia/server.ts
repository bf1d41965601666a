/**
 * A charge that is safe to retry, on Elysia. From the root of a clone:
 *
 *   npm run example -- elysia
 */
import { createServer } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { Elysia } from 'elysia'
import { createIdempotency } from 'retrysafe'
import { idempotent } from 'retrysafe/http/elysia'
import { sqliteStore } from 'retrysafe/stores/sqlite'

const idem = createIdempotency({ store: sqliteStore({ file: process.env['DB'] ?? './idempotency.db' }) })
let charges = 0

const app = new Elysia()
  .get('/charges', () => ({ charges }))
  .use(idempotent(idem, { principal: ({ headers }) => headers['x-tenant'] ?? 'anonymous', required: true }))
  .post('/charges', ({ body, set }) => {
    charges += 1
    const { amount } = body as { amount: number }
    set.status = 201
    set.headers['location'] = `/charges/${charges}`
    return { id: charges, amount }
  })

// On Bun, `app.listen(3000)`; on Node also `new Elysia({ adapter: node() })` of `@elysiajs/node`.
const listener = getRequestListener(app.fetch)
const server = createServer((req, res) => void listener(req, res))
server.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1', () => {
  const { port } = server.address() as { port: number }
  console.log(`Listening on http://127.0.0.1:${port}`)
})
