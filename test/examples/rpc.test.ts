/** The examples of procedure calls and mutations: one charge, its replay, and another request under the same key. */
import { expect, test } from 'vitest'
import { callExample, startExample } from './example.ts'

const mutation = 'mutation ($amount: Int!) { charge(amount: $amount) { id amount } }'

interface Example {
  readonly name: string
  readonly path: string
  body(amount: number): unknown
  /** Where the number of charges is read. */
  readonly read: string
}

const examples: readonly Example[] = [
  { name: 'trpc', path: '/charge', body: (amount) => ({ amount }), read: '/charges' },
  { name: 'orpc', path: '/charge', body: (amount) => ({ json: { amount } }), read: '/charges' },
  {
    name: 'yoga',
    path: '/graphql',
    body: (amount) => ({ query: mutation, variables: { amount } }),
    read: '/graphql?query={charges}',
  },
  {
    name: 'apollo',
    path: '/',
    body: (amount) => ({ query: mutation, variables: { amount } }),
    read: '/?query={charges}',
  },
]

// A process on the sources and its framework take long to start on a busy machine.
test.each(examples)('$name', { timeout: 60_000 }, async ({ name, path, body, read }) => {
  const origin = await startExample(name)
  const first = await callExample(origin + path, 'k-1', body(100))
  expect(first.body).toMatch(/"id":1,"amount":100/)
  expect((await callExample(origin + path, 'k-1', body(100))).body).toBe(first.body)
  expect((await callExample(origin + path, 'k-1', body(200))).body).toContain('key-reused')
  const options = name === 'orpc' ? { method: 'POST' } : { headers: { 'apollo-require-preflight': '1' } }
  expect(await (await fetch(origin + read, options)).text()).toMatch(/:1\}/)
})
