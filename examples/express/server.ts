/**
 * A charge that is safe to retry, on Express. From the root of a clone:
 *
 *   npm run example -- express
 */
import express from 'express'
import { createIdempotency } from 'retrysafe'
import { idempotent, keepRawBody } from 'retrysafe/http/express'
import { sqliteStore } from 'retrysafe/stores/sqlite'

const idem = createIdempotency({ store: sqliteStore({ file: process.env['DB'] ?? './idempotency.db' }) })
const app = express()
let charges = 0

app.use(express.json({ verify: keepRawBody }))

app.post(
  '/charges',
  idempotent(idem, { principal: (req) => req.get('x-tenant') ?? 'anonymous', required: true }),
  (req, res) => {
    charges += 1
    const { amount } = req.body as { amount: number }
    res.status(201).location(`/charges/${charges}`).json({ id: charges, amount })
  },
)

app.get('/charges', (_req, res) => res.json({ charges }))

const server = app.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1', () => {
  const { port } = server.address() as { port: number }
  console.log(`Listening on http://127.0.0.1:${port}`)
})
