/** Starts the shop on each GraphQL server. */
import { ApolloServer } from '@apollo/server'
import { startStandaloneServer } from '@apollo/server/standalone'
import { createSchema, createYoga } from 'graphql-yoga'
import { onTestFinished } from 'vitest'
import type { Idempotency } from '../../src/engine/idempotency.ts'
import { idempotent as forApollo } from '../../src/rpc/apollo.ts'
import { idempotent as forYoga, type MutationOptions } from '../../src/rpc/yoga.ts'
import { instance, serve } from './serving.ts'
import { shop, type Shop, typeDefs } from './graphql-shop.ts'

export interface StartedShop extends Shop {
  readonly url: string
}

export type ShopOptions = Omit<MutationOptions<object>, 'principal'> & { readonly idem?: Idempotency }

async function startYoga({ idem = instance(), ...options }: ShopOptions = {}): Promise<StartedShop> {
  const { resolvers, ...rest } = shop()
  const yoga = createYoga({
    logging: false,
    batching: true,
    schema: createSchema({ typeDefs, resolvers }),
    plugins: [
      forYoga(idem, { ...options, principal: ({ context }) => context.request.headers.get('x-tenant') }),
    ],
  })
  return { ...rest, resolvers, url: `${await serve(yoga)}/graphql` }
}

async function startApollo({ idem = instance(), ...options }: ShopOptions = {}): Promise<StartedShop> {
  const { resolvers, ...rest } = shop()
  const server = new ApolloServer<{ tenant: string | undefined }>({
    typeDefs,
    resolvers,
    allowBatchedHttpRequests: true,
    includeStacktraceInErrorResponses: false,
    plugins: [
      forApollo<{ tenant: string | undefined }>(idem, {
        ...options,
        principal: ({ context }) => context.tenant,
      }),
    ],
  })
  onTestFinished(() => server.stop())
  const { url } = await startStandaloneServer(server, {
    listen: { port: 0, host: '127.0.0.1' },
    context: async ({ req }) => ({ tenant: req.headers['x-tenant'] as string | undefined }),
  })
  return { ...rest, resolvers, url }
}

export const servers: readonly (readonly [
  name: string,
  start: (options?: ShopOptions) => Promise<StartedShop>,
])[] = [
  ['Yoga', startYoga],
  ['Apollo', startApollo],
]
