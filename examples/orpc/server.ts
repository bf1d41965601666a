/**
 * A charge that is safe to retry, on oRPC. From the root of a clone:
 *
 *   npm run example -- orpc
 */
import { createServer } from 'node:http'
import { os } from '@orpc/server'
import { RPCHandler } from '@orpc/server/node'
import {
  BatchHandlerPlugin,
  RequestHeadersPlugin,
  type RequestHeadersPluginContext,
} from '@orpc/server/plugins'
import { createIdempotency } from 'retrysafe'
import { headerKey, idempotent } from 'retrysafe/rpc/orpc'
import { sqliteStore } from 'retrysafe/stores/sqlite'
import { z } from 'zod'

interface Context extends RequestHeadersPluginContext {
  readonly tenant: string
}

const idem = createIdempotency({ store: sqliteStore({ file: process.env['DB'] ?? './idempotency.db' }) })
let charges = 0

const router = {
  charge: os
    .$context<Context>()
    .input(z.object({ amount: z.number() }))
    .use(idempotent(idem, { principal: ({ context }) => context.tenant, key: headerKey, required: true }))
    .handler(({ input }) => {
      charges += 1
      return { id: charges, amount: input.amount }
    }),
  charges: os.handler(() => charges),
}

// A client imports the type of `router`: `RouterClient<typeof router>`.

const handler = new RPCHandler(router, { plugins: [new BatchHandlerPlugin(), new RequestHeadersPlugin()] })
const server = createServer((req, res) => {
  const context = { tenant: req.headers['x-tenant']?.toString() ?? 'anonymous' }
  handler.handle(req, res, { context }).then(
    ({ matched }) => matched || res.writeHead(404).end(),
    () => res.destroy(),
  )
})
server.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1', () => {
  const { port } = server.address() as { port: number }
  console.log(`Listening on http://127.0.0.1:${port}`)
})
