/** tRPC's own server and client over HTTP, batched and not. */
import { createTRPCClient, httpBatchLink, httpLink, TRPCClientError } from '@trpc/client'
import { initTRPC, TRPCError } from '@trpc/server'
import { createHTTPHandler, type CreateHTTPContextOptions } from '@trpc/server/adapters/standalone'
import superjson from 'superjson'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { Idempotency } from '../../src/engine/idempotency.ts'
import { headerKey, idempotencyData, idempotent, keyHeaders } from '../../src/rpc/trpc.ts'
import { eventually } from '../eventually.ts'
import { gate, instance, instanceWithoutStore, serve } from './serving.ts'

function createContext({ req, info }: CreateHTTPContextOptions) {
  return { req, info, tenant: req.headers['x-tenant'] as string | undefined }
}

const t = initTRPC.context<typeof createContext>().create({
  isDev: false,
  transformer: superjson,
  errorFormatter: ({ shape, error }) => ({ ...shape, data: { ...shape.data, ...idempotencyData(error) } }),
})

function appOn(idem: Idempotency) {
  const effects: string[] = []
  const waiting = gate()
  const byHeader = t.procedure.use(idempotent(idem, { principal: ({ ctx }) => ctx.tenant, key: headerKey }))
  const byInput = t.procedure.input(z.object({ requestId: z.string(), amount: z.number() })).use(
    idempotent(idem, {
      principal: ({ ctx }) => ctx.tenant,
      key: ({ input }) => input.requestId,
      required: true,
    }),
  )
  const router = t.router({
    charge: byInput.mutation(({ input, ctx }) => {
      effects.push(`charge ${input.amount}`)
      return { id: effects.length, amount: input.amount, fence: ctx.idempotency?.fence }
    }),
    pay: byHeader.input(z.object({ amount: z.number() })).mutation(({ input }) => {
      effects.push(`pay ${input.amount}`)
      return { id: effects.length }
    }),
    read: byHeader.query(() => {
      effects.push('read')
      return effects.length
    }),
  })
  return { router, effects, waiting }
}

async function start(idem: Idempotency = instance()) {
  const app = appOn(idem)
  const origin = await serve(createHTTPHandler({ router: app.router, createContext }))
  const client = createTRPCClient<typeof app.router>({
    links: [
      httpBatchLink({
        url: origin,
        transformer: superjson,
        headers: (sent) => ({ ...keyHeaders(sent), 'x-tenant': 't1' }),
      }),
    ],
  })
  return { ...app, origin, client }
}

test('a key in the input', async () => {
  const { client, effects } = await start()
  const first = await client.charge.mutate({ requestId: 'k', amount: 1 })
  const again = await client.charge.mutate({ requestId: 'k', amount: 1 })
  expect(again).toEqual(first)
  expect(effects).toEqual(['charge 1'])
})
