/** Who may import whom. The linter and the test that walks every import both read this table. */

/** Each room of `src` with the other rooms it may import. What is not listed is forbidden. */
export const arrows: Readonly<Record<string, readonly string[]>> = {
  core: [],
  engine: ['core'],
  stores: ['core'],
  transactions: ['core'],
  writes: ['core'],
  doctor: ['core', 'engine', 'openapi'],
  http: ['core', 'engine', 'doctor', 'openapi'],
  openapi: ['core'],
  lambda: ['core', 'engine', 'http', 'openapi'],
  rpc: ['core', 'engine'],
  tools: ['core', 'engine'],
  webhooks: ['core', 'engine', 'http', 'openapi'],
  client: ['core'],
  workflow: ['core', 'engine'],
  messaging: ['core', 'engine'],
  outbox: ['core'],
  telemetry: ['core'],
  gateway: ['core', 'engine', 'http'],
  console: ['core', 'engine'],
  verification: ['core', 'engine'],
}

/** `cli` puts the program together, so it may import every room. */
export const freeRooms: readonly string[] = ['cli']

/** A room whose units never import each other. */
export type UnitRoom = 'stores' | 'http' | 'rpc' | 'tools'

/**
 * Rooms whose units never import each other. A unit is the file `<name>.ts` and the folder `<name>/`; outside of
 * `stores` every file that is not named here is shared by all of them.
 */
export const units: Readonly<Record<UnitRoom, readonly string[]>> = {
  stores: ['memory', 'sqlite', 'postgres', 'mysql', 'redis', 'dynamodb', 'tiered'],
  http: [
    'fetch',
    'node',
    'express',
    'fastify',
    'koa',
    'hono',
    'h3',
    'h3-1',
    'elysia',
    'nest',
    'next',
    'react-router',
  ],
  rpc: ['trpc', 'orpc', 'yoga', 'apollo'],
  tools: ['mcp', 'ai'],
}

/** Folders of `stores` that are no store and that every store may use. */
export const sharedInStores: readonly string[] = ['sql', 'scan']

/** Rooms whose third-party imports the build bundles into `dist`; elsewhere only types may be imported. */
export const bundledRooms: readonly string[] = ['gateway', 'console', 'cli']

/** Files that stand on a library of the reader's, an optional peer: the one package that each imports as a value. */
export const peers: Readonly<Record<string, string>> = {
  'client/react.ts': 'react',
  'client/tanstack-query.ts': '@tanstack/react-query',
}

/** The main entry imports these and nothing else. */
export const mainEntry: { readonly rooms: readonly string[]; readonly stores: readonly string[] } = {
  rooms: ['core', 'engine'],
  stores: ['memory'],
}

/** The one file of `core` and `engine` that may ask for time, randomness and timers. */
export const runtimeFile = 'src/engine/node-runtime.ts'
