/**
 * A charge that is safe to retry, on h3 2. From the root of a clone:
 *
 *   npm run example -- h3
 */
import { createServer } from 'node:http'
import { H3, toResponse } from 'h3'
import { toNodeHandler } from 'h3/node'
import { createIdempotency } from 'retrysafe'
import { idempotent } from 'retrysafe/http/h3'
import { sqliteStore } from 'retrysafe/stores/sqlite'

const idem = createIdempotency({ store: sqliteStore({ file: process.env['DB'] ?? './idempotency.db' }) })
const app = new H3()
let charges = 0

app.post(
  '/charges',
  idempotent(
    idem,
    { toResponse, principal: (event) => event.req.headers.get('x-tenant') ?? 'anonymous', required: true },
    async (event) => {
      const { amount } = (await event.req.json()) as { amount: number }
      charges += 1
      event.res.status = 201
      event.res.headers.set('Location', `/charges/${charges}`)
      return { id: charges, amount }
    },
  ),
)

app.get('/charges', () => ({ charges }))

const server = createServer(toNodeHandler(app) as Parameters<typeof createServer>[1])
server.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1', () => {
  const { port } = server.address() as { port: number }
  console.log(`Listening on http://127.0.0.1:${port}`)
})
