/**
 * A charge that is safe to retry, on a plain fetch handler. From the root of a clone:
 *
 *   npm run example -- fetch
 */
import { createServer } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { createIdempotency } from 'retrysafe'
import { idempotent } from 'retrysafe/http/fetch'
import { sqliteStore } from 'retrysafe/stores/sqlite'

const idem = createIdempotency({ store: sqliteStore({ file: process.env['DB'] ?? './idempotency.db' }) })
let charges = 0

const charge = idempotent(
  idem,
  { principal: (request) => request.headers.get('x-tenant') ?? 'anonymous', required: true },
  async (request) => {
    const { amount } = (await request.json()) as { amount: number }
    charges += 1
    return Response.json(
      { id: charges, amount },
      { status: 201, headers: { Location: `/charges/${charges}` } },
    )
  },
)

async function handle(request: Request): Promise<Response> {
  if (new URL(request.url).pathname !== '/charges') return new Response(null, { status: 404 })
  return request.method === 'POST' ? await charge(request) : Response.json({ charges })
}

// Deno, Bun and Workers serve `{ fetch: handle }` themselves; Node needs a listener around it.
const listener = getRequestListener(handle)
const server = createServer((req, res) => void listener(req, res))
server.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1', () => {
  const { port } = server.address() as { port: number }
  console.log(`Listening on http://127.0.0.1:${port}`)
})
