/** oRPC's own handler and client over HTTP, batched and not. */
import { createORPCClient, ORPCError, safe } from '@orpc/client'
import { RPCLink } from '@orpc/client/fetch'
import { BatchLinkPlugin } from '@orpc/client/plugins'
import { os, type RouterClient } from '@orpc/server'
import { RPCHandler } from '@orpc/server/node'
import {
  BatchHandlerPlugin,
  RequestHeadersPlugin,
  type RequestHeadersPluginContext,
} from '@orpc/server/plugins'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { Idempotency } from '../../src/engine/idempotency.ts'
import { headerKey, idempotent } from '../../src/rpc/orpc.ts'
import { instance, serve } from './serving.ts'

interface Context extends RequestHeadersPluginContext {
  readonly tenant: string | undefined
}

function appOn(idem: Idempotency) {
  const effects: string[] = []
  const base = os.$context<Context>()
  const router = {
    charge: base
      .input(z.object({ requestId: z.string(), amount: z.number() }))
      .use(
        idempotent(idem, { principal: ({ context }) => context.tenant, key: ({ input }) => input.requestId }),
      )
      .handler(({ input, context }) => {
        effects.push(`charge ${input.amount}`)
        return { id: effects.length, fence: context.idempotency?.fence }
      }),
    pay: base
      .use(idempotent(idem, { principal: ({ context }) => context.tenant, key: headerKey }))
      .input(z.object({ amount: z.number() }))
      .handler(({ input }) => {
        effects.push(`pay ${input.amount}`)
        return { id: effects.length }
      }),
  }
  return { router, effects }
}

async function start(idem: Idempotency = instance()) {
  const app = appOn(idem)
  const handler = new RPCHandler(app.router, {
    plugins: [new BatchHandlerPlugin(), new RequestHeadersPlugin()],
  })
  const origin = await serve(async (req, res) => {
    await handler.handle(req, res, { context: { tenant: req.headers['x-tenant'] as string | undefined } })
  })
  const client: RouterClient<typeof app.router, { key?: string }> = createORPCClient(
    new RPCLink({ url: origin, headers: { 'x-tenant': 't1' } }),
  )
  return { ...app, origin, client }
}

test('a key in the input', async () => {
  const { client, effects } = await start()
  const first = await client.charge({ requestId: 'k', amount: 1 })
  expect(await client.charge({ requestId: 'k', amount: 1 })).toEqual(first)
  expect(first).toEqual({ id: 1, fence: 1 })
  expect(effects).toEqual(['charge 1'])
})
