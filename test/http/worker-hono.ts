/** A Worker on Hono, for `workers.test.ts`: its record store lasts as long as the one isolate of the test. */
import { Hono } from 'hono'
import { createIdempotency } from '../../src/index.ts'
import { idempotent } from '../../src/http/hono.ts'
import { memoryStore } from '../../src/stores/memory.ts'

const idem = createIdempotency({ store: memoryStore(), sweep: false })
const app: Hono = new Hono()
let charges = 0

app.post('/charges', idempotent(idem, { principal: 'anonymous' }), async (c) => {
  const { amount } = await c.req.json<{ amount: number }>()
  return c.json({ id: (charges += 1), amount }, 201)
})

export default app
