/**
 * A charge that is safe to retry, on plain `node:http`. From the root of a clone:
 *
 *   npm run example -- node
 */
import { createServer } from 'node:http'
import { json } from 'node:stream/consumers'
import { createIdempotency } from 'retrysafe'
import { idempotent } from 'retrysafe/http/node'
import { sqliteStore } from 'retrysafe/stores/sqlite'

const idem = createIdempotency({ store: sqliteStore({ file: process.env['DB'] ?? './idempotency.db' }) })
let charges = 0

const charge = idempotent(
  idem,
  { principal: (req) => req.headers['x-tenant']?.toString() ?? 'anonymous', required: true },
  async (req, res) => {
    const { amount } = (await json(req)) as { amount: number }
    charges += 1
    res.writeHead(201, { 'Content-Type': 'application/json', Location: `/charges/${charges}` })
    res.end(JSON.stringify({ id: charges, amount }))
  },
)

const server = createServer((req, res) => {
  if (req.url !== '/charges') res.writeHead(404).end()
  else if (req.method === 'POST') charge(req, res)
  else res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ charges }))
})
server.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1', () => {
  const { port } = server.address() as { port: number }
  console.log(`Listening on http://127.0.0.1:${port}`)
})
