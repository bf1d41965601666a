/**
 * A charge that is safe to retry, on tRPC. From the root of a clone:
 *
 *   npm run example -- trpc
 */
import { initTRPC } from '@trpc/server'
import { type CreateHTTPContextOptions, createHTTPServer } from '@trpc/server/adapters/standalone'
import { createIdempotency } from 'retrysafe'
import { headerKey, idempotencyData, idempotent } from 'retrysafe/rpc/trpc'
import { sqliteStore } from 'retrysafe/stores/sqlite'
import { z } from 'zod'

const idem = createIdempotency({ store: sqliteStore({ file: process.env['DB'] ?? './idempotency.db' }) })
let charges = 0

function createContext({ req, info }: CreateHTTPContextOptions) {
  return { req, info, tenant: req.headers['x-tenant']?.toString() ?? 'anonymous' }
}

const t = initTRPC.context<typeof createContext>().create({
  errorFormatter: ({ shape, error }) => ({ ...shape, data: { ...shape.data, ...idempotencyData(error) } }),
})

const router = t.router({
  charge: t.procedure
    .input(z.object({ amount: z.number() }))
    .use(idempotent(idem, { principal: ({ ctx }) => ctx.tenant, key: headerKey, required: true }))
    .mutation(({ input }) => {
      charges += 1
      return { id: charges, amount: input.amount }
    }),
  charges: t.procedure.query(() => charges),
})

// A client imports the type of `router`: `createTRPCClient<typeof router>({ links: [httpBatchLink({ url, headers: keyHeaders })] })`.

const server = createHTTPServer({ router, createContext })
server.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1', () => {
  const { port } = server.address() as { port: number }
  console.log(`Listening on http://127.0.0.1:${port}`)
})
