/**
 * A charge that is safe to retry, on Apollo Server. From the root of a clone:
 *
 *   npm run example -- apollo
 */
import { ApolloServer } from '@apollo/server'
import { startStandaloneServer } from '@apollo/server/standalone'
import { createIdempotency } from 'retrysafe'
import { idempotent, idempotentDirective } from 'retrysafe/rpc/apollo'
import { sqliteStore } from 'retrysafe/stores/sqlite'

interface Context {
  readonly tenant: string
}

const idem = createIdempotency({ store: sqliteStore({ file: process.env['DB'] ?? './idempotency.db' }) })
let charges = 0

const server = new ApolloServer<Context>({
  typeDefs: `
    ${idempotentDirective}
    type Charge { id: Int! amount: Int! }
    type Query { charges: Int! }
    type Mutation { charge(amount: Int!): Charge! }
  `,
  resolvers: {
    Query: { charges: () => charges },
    Mutation: {
      charge: (_parent: unknown, { amount }: { amount: number }) => {
        charges += 1
        return { id: charges, amount }
      },
    },
  },
  plugins: [idempotent<Context>(idem, { principal: ({ context }) => context.tenant, required: true })],
})

const { url } = await startStandaloneServer(server, {
  listen: { port: Number(process.env['PORT'] ?? 3000), host: '127.0.0.1' },
  context: async ({ req }) => ({ tenant: req.headers['x-tenant']?.toString() ?? 'anonymous' }),
})
console.log(`Listening on ${url}`)
