/**
 * A charge that is safe to retry, on GraphQL Yoga. From the root of a clone:
 *
 *   npm run example -- yoga
 */
import { createServer } from 'node:http'
import { createSchema, createYoga } from 'graphql-yoga'
import { createIdempotency } from 'retrysafe'
import { idempotent, idempotentDirective } from 'retrysafe/rpc/yoga'
import { sqliteStore } from 'retrysafe/stores/sqlite'

const idem = createIdempotency({ store: sqliteStore({ file: process.env['DB'] ?? './idempotency.db' }) })
let charges = 0

const schema = createSchema({
  typeDefs: `
    ${idempotentDirective}
    type Charge { id: Int! amount: Int! }
    type Query { charges: Int! }
    type Mutation { charge(amount: Int!): Charge! }
  `,
  resolvers: {
    Query: { charges: () => charges },
    Mutation: {
      charge: (_parent, { amount }: { amount: number }) => {
        charges += 1
        return { id: charges, amount }
      },
    },
  },
})

const yoga = createYoga({
  schema,
  plugins: [
    idempotent(idem, {
      principal: ({ context }) => context.request.headers.get('x-tenant') ?? 'anonymous',
      required: true,
    }),
  ],
})

const server = createServer((req, res) => void yoga(req, res))
server.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1', () => {
  const { port } = server.address() as { port: number }
  console.log(`Listening on http://127.0.0.1:${port}`)
})
