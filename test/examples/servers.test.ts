/** Each example is started and called: one charge, its replay, and another request under the same key. */
import { expect, test } from 'vitest'
import { callExample, startExample } from './example.ts'

/** Examples that answer `POST /charges` and count at `GET /charges`. */
const servers = [
  'elysia',
  'express',
  'fastify',
  'fetch',
  'h3',
  'hono',
  'koa',
  'lambda',
  'nest',
  'next',
  'node',
  'react-router',
]

// Some are compiled first.
test.each(servers)('%s', { timeout: 120_000 }, async (name) => {
  const origin = await startExample(name)
  const first = await callExample(`${origin}/charges`, 'k-1', { amount: 100 })
  expect(first).toMatchObject({ status: 201, replayed: false })
  const again = await callExample(`${origin}/charges`, 'k-1', { amount: 100 })
  expect(again).toEqual({ ...first, replayed: true })
  expect(await callExample(`${origin}/charges`, 'k-1', { amount: 200 })).toMatchObject({ status: 422 })
  expect(await (await fetch(`${origin}/charges`)).json()).toEqual({ charges: 1 })
})
