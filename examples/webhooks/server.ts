/**
 * Stripe's events, each applied once, in one transaction with its record. From the root of a clone:
 *
 *   STRIPE_WEBHOOK_SECRET=whsec_test npm run example -- webhooks
 *
 * and then, with the Stripe CLI: `stripe listen --forward-to 127.0.0.1:3000/hooks/stripe`.
 */
import { DatabaseSync } from 'node:sqlite'
import express from 'express'
import { createIdempotency } from 'retrysafe'
import { sqliteStore } from 'retrysafe/stores/sqlite'
import { webhookTransaction, type WebhookEvent } from 'retrysafe/webhooks'

const file = process.env['DB'] ?? './idempotency.db'
const idem = createIdempotency({ store: sqliteStore({ file }) })
const database = new DatabaseSync(file)
database.exec('CREATE TABLE IF NOT EXISTS paid (invoice TEXT NOT NULL)')
const app = express()

interface StripeEvent {
  data: { object: { id: string } }
}

const stripe = webhookTransaction(
  idem,
  'stripe',
  { name: 'billing', secret: process.env['STRIPE_WEBHOOK_SECRET'] ?? 'whsec_test' },
  ({ type, payload }: WebhookEvent<StripeEvent>, { tx }) => {
    if (type !== 'invoice.paid') return
    tx.prepare('INSERT INTO paid (invoice) VALUES (?)').run(payload.data.object.id)
  },
)

// Before any parser: the signature is over the octets.
app.post('/hooks/stripe', stripe.node)

app.get('/paid', (_req, res) => res.json(database.prepare('SELECT invoice FROM paid').all()))

const server = app.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1', () => {
  const { port } = server.address() as { port: number }
  console.log(`Listening on http://127.0.0.1:${port}`)
})
