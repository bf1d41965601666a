/**
 * A charge that is safe to retry, on Koa. From the root of a clone:
 *
 *   npm run example -- koa
 */
import { bodyParser } from '@koa/bodyparser'
import { Router } from '@koa/router'
import Koa from 'koa'
import { createIdempotency } from 'retrysafe'
import { idempotent } from 'retrysafe/http/koa'
import { sqliteStore } from 'retrysafe/stores/sqlite'

const idem = createIdempotency({ store: sqliteStore({ file: process.env['DB'] ?? './idempotency.db' }) })
const app = new Koa()
const router = new Router()
let charges = 0

router.post(
  '/charges',
  idempotent(idem, { principal: (ctx) => ctx.get('x-tenant') || 'anonymous', required: true }),
  (ctx) => {
    charges += 1
    const { amount } = ctx.request.body as { amount: number }
    ctx.status = 201
    ctx.set('Location', `/charges/${charges}`)
    ctx.body = { id: charges, amount }
  },
)

router.get('/charges', (ctx) => {
  ctx.body = { charges }
})

app.use(bodyParser())
app.use(router.routes())

const server = app.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1', () => {
  const { port } = server.address() as { port: number }
  console.log(`Listening on http://127.0.0.1:${port}`)
})
