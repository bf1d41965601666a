/** The states of a mutation and what they do to its key, against a real server. */
import { expect, onTestFinished, test } from 'vitest'
import { formKeys } from '../../../src/client/form-keys.ts'
import { createIdempotentFetch } from '../../../src/client/index.ts'
import { createMutation, type Mutation } from '../../../src/client/react/mutation.ts'
import { serve } from '../../http/serving.ts'

type Answer = number | 'lost' | 'malformed' | Promise<number>

interface Setup {
  readonly mutation: Mutation<string, unknown>
  /** The keys in the order in which they came. */
  readonly seen: readonly unknown[]
}

/** A mutation whose server gives these answers, one after the other. */
async function setup(...answers: Answer[]): Promise<Setup> {
  const seen: unknown[] = []
  const { origin } = await serve(async (request, response) => {
    const count = seen.push(request.headers['idempotency-key'])
    const answer = await answers[count - 1]
    const problem = { 'content-type': 'application/problem+json' }
    if (answer === 'lost') request.socket.destroy()
    else if (answer === 'malformed') response.writeHead(400, problem).end('{"code":"key-malformed"}')
    else response.writeHead(answer ?? 201).end(`answer ${count}`)
  })
  const keys = formKeys('memory')
  const name = origin
  const mutation = createMutation<string, unknown>({
    async mutationFn(_variables, { fetch }) {
      const response = await fetch(origin, { method: 'POST' })
      if (!response.ok) throw new Error(String(response.status))
      return await response.text()
    },
    nameOf: (variables) => name + JSON.stringify(variables),
    keys,
    keepMs: 0,
    fetch: createIdempotentFetch({ retries: 0 }),
    isFailure: undefined,
  })
  return { mutation, seen }
}

test('after an unknown outcome being turned away tells nothing: the key stays', async () => {
  const { mutation, seen } = await setup('lost', 429, 503, 201, 201)
  const { actions, state } = mutation
  for (const _attempt of ['lost', 429, 503]) {
    await expect(actions.mutateAsync(1)).rejects.toThrow('Nobody knows')
    expect(state().status).toBe('unknown')
  }
  expect(await actions.mutateAsync(1)).toBe('answer 4')
  expect(state()).toMatchObject({ status: 'success', data: 'answer 4', variables: 1, replayed: false })
  await actions.mutateAsync(1)
  expect(new Set(seen.slice(0, 4)).size).toBe(1)
  expect(seen[4]).not.toBe(seen[0])
})

test('a call that changed nothing leaves the key as it was: the next one can tell, too', async () => {
  const { mutation, seen } = await setup('malformed', 429)
  await expect(mutation.actions.mutateAsync(1)).rejects.toThrow('refuses the idempotency key')
  expect(mutation.state().status).toBe('error')
  await expect(mutation.actions.mutateAsync(1)).rejects.toThrow('429')
  expect(mutation.state().status).toBe('error')
  expect(seen[1]).toBe(seen[0])
})

test('a definite no ends the key', async () => {
  const { mutation, seen } = await setup(402, 201)
  await expect(mutation.actions.mutateAsync(1)).rejects.toThrow('402')
  expect(mutation.state()).toMatchObject({ status: 'error', variables: 1 })
  await mutation.actions.mutateAsync(1)
  expect(seen[1]).not.toBe(seen[0])
})

test('a later call has the word, and reset ends the wait', async () => {
  const first = Promise.withResolvers<number>()
  onTestFinished(() => first.resolve(201))
  const { mutation, seen } = await setup(first.promise, 201)
  const early = mutation.actions.mutateAsync(1)
  await expect.poll(() => seen.length).toBe(1)
  expect(await mutation.actions.mutateAsync(2)).toBe('answer 2')
  first.resolve(201)
  expect(await early).toBe('answer 1')
  expect(mutation.state()).toMatchObject({ status: 'success', variables: 2 })

  const last = mutation.actions.mutateAsync(3)
  mutation.actions.reset()
  await last
  expect(mutation.state()).toEqual({ status: 'idle', replayed: false })
})

test('renew and retry do nothing where there is nothing to do', async () => {
  const first = Promise.withResolvers<number>()
  onTestFinished(() => first.resolve(201))
  const { mutation, seen } = await setup(first.promise)
  mutation.actions.retry()
  mutation.actions.renew()
  expect(mutation.state().status).toBe('idle')
  const early = mutation.actions.mutateAsync(1)
  mutation.actions.renew()
  mutation.actions.retry()
  expect(mutation.state().status).toBe('pending')
  first.resolve(201)
  await early
  expect(seen).toHaveLength(1)
})

test('renew after an unknown outcome is the page saying so: another key', async () => {
  const { mutation, seen } = await setup('lost', 201)
  await expect(mutation.actions.mutateAsync(1)).rejects.toThrow('Nobody knows')
  mutation.actions.renew()
  expect(mutation.state().status).toBe('idle')
  await mutation.actions.mutateAsync(1)
  expect(seen[1]).not.toBe(seen[0])
})

test('an abort is unknown, and the next call has the key', async () => {
  const first = Promise.withResolvers<number>()
  onTestFinished(() => first.resolve(201))
  const { mutation, seen } = await setup(first.promise, 201)
  const abort = new AbortController()
  const early = mutation.actions.mutateAsync(1, { signal: abort.signal })
  await expect.poll(() => seen.length).toBe(1)
  abort.abort()
  await expect(early).rejects.toThrow('abort')
  expect(mutation.state().status).toBe('unknown')
  await mutation.actions.mutateAsync(1)
  expect(seen[1]).toBe(seen[0])
})

test('variables without a name are thrown at the caller, and nothing is sent', async () => {
  const { mutation, seen } = await setup()
  const circular: { self?: unknown } = {}
  circular.self = circular
  expect(() => mutation.actions.mutate(circular)).toThrow(TypeError)
  await expect(mutation.actions.mutateAsync(circular)).rejects.toThrow(TypeError)
  expect(mutation.state().status).toBe('idle')
  expect(seen).toEqual([])
})
