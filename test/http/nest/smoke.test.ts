import { test, expect, onTestFinished } from 'vitest'
import { nest12 } from './packages.ts'
import { decorated } from './decorated.ts'
import { IdempotencyModule, Idempotent, IdempotencyAttempt } from '../../../src/http/nest.ts'
import { instance, post } from '../serving.ts'

test.each(['express', 'fastify'])('smoke %s', async (platform) => {
  const { common, core } = nest12
  let runs = 0
  class Charges {
    create(body: { amount: number }, attempt: { fence: number }) {
      runs++
      return { id: runs, amount: body.amount, fence: attempt.fence }
    }
  }
  decorated(Charges, [common.Controller('x')], {
    create: {
      method: [common.Post(), Idempotent({ required: true })],
      parameters: [common.Body(), IdempotencyAttempt()],
    },
  })
  class App {}
  decorated(App, [
    common.Module({
      imports: [IdempotencyModule.forRoot({ idem: instance(), principal: 'anonymous' })],
      controllers: [Charges],
    }),
  ])
  const adapter =
    platform === 'fastify' ? new (await import('@nestjs/platform-fastify')).FastifyAdapter() : undefined
  const app = adapter
    ? await core.NestFactory.create(App, adapter, { logger: ['error', 'warn'] })
    : await core.NestFactory.create(App, { logger: ['error', 'warn'] })
  onTestFinished(() => app.close())
  await app.listen(0, '127.0.0.1')
  const origin = await app.getUrl()
  const first = await post(origin)
  console.log(first.status, first.body.toString(), [...first.headers])
  const again = await post(origin)
  console.log(again.status, again.body.toString(), [...again.headers])
  expect(again.replayed).toBe(true)
  console.log((await post(origin, { body: '{"amount":3}' })).body.toString())
  console.log((await post(origin, { headers: { 'Idempotency-Key': ' ' } })).body.toString())
})
