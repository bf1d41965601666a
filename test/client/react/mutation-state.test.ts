/** The states of a mutation and what they do to its key, against a real server. */
import { expect, onTestFinished, test, vi } from 'vitest'
import { formKeys } from '../../../src/client/form-keys.ts'
import { createIdempotentFetch } from '../../../src/client/index.ts'
import { createMutation, type Mutation, type MutationSettings } from '../../../src/client/react/mutation.ts'
import { serve } from '../../http/serving.ts'

type Answer = number | 'lost' | 'malformed' | Promise<number | 'lost'>

interface Setup {
  readonly mutation: Mutation<string, unknown>
  /** Another one that means the same, as of another component. */
  another(settings?: Partial<MutationSettings<string, unknown>>): Mutation<string, unknown>
  /** The keys in the order in which they came. */
  readonly seen: readonly unknown[]
  readonly origin: string
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
  const settings: MutationSettings<string, unknown> = {
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
  }
  const another: Setup['another'] = (changed) => createMutation({ ...settings, ...changed })
  return { mutation: another(), another, seen, origin }
}

/** An answer that waits until it is resolved. */
function held(): PromiseWithResolvers<number | 'lost'> {
  const answer = Promise.withResolvers<number | 'lost'>()
  onTestFinished(() => answer.resolve(201))
  return answer
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
  await expect(mutation.actions.mutateAsync(1)).rejects.toThrow('refuses the key')
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
  const first = held()
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
  const first = held()
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
  const first = held()
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

/** Lets time pass for what asks for the time, and for nothing else. */
function pass(ms: number): void {
  if (!vi.isFakeTimers()) {
    vi.useFakeTimers({ toFake: ['Date'] })
    onTestFinished(() => void vi.useRealTimers())
  }
  vi.setSystemTime(Date.now() + ms)
}

test('a key that is sent again does not end before the outcome is known', async () => {
  const second = held()
  const { another, seen } = await setup(201, second.promise, 201)
  const { actions, state } = another({ keepMs: 60_000 })
  await actions.mutateAsync(1)
  const late = actions.mutateAsync(1)
  await expect.poll(() => seen.length).toBe(2)
  pass(60_000)
  second.resolve('lost')
  await expect(late).rejects.toThrow('Nobody knows')
  expect(state().status).toBe('unknown')
  await actions.mutateAsync(1)
  expect(new Set(seen).size).toBe(1)
})

test('nor before the function gets to sending it', async () => {
  const { another, seen, origin } = await setup(201, 'lost', 201)
  const { actions } = another({
    keepMs: 60_000,
    async mutationFn(_variables, { fetch }) {
      // As if it had waited for something.
      if (seen.length === 1) pass(60_000)
      return await (await fetch(origin, { method: 'POST' })).text()
    },
  })
  await actions.mutateAsync(1)
  await expect(actions.mutateAsync(1)).rejects.toThrow('Nobody knows')
  await actions.mutateAsync(1)
  expect(new Set(seen).size).toBe(1)
})

test('sent again in its time, a key that is done is repeated for the rest of it', async () => {
  const { another, seen } = await setup(201, 201, 201)
  const { actions } = another({ keepMs: 60_000 })
  await actions.mutateAsync(1)
  pass(50_000)
  await actions.mutateAsync(1)
  pass(10_000)
  await actions.mutateAsync(1)
  expect(seen[1]).toBe(seen[0])
  expect(seen[2]).not.toBe(seen[0])
})

test('renew leaves the key of a call that another component has under way', async () => {
  const second = held()
  const { another, seen } = await setup(201, second.promise, 201)
  const [one, other] = [another({ keepMs: 60_000 }), another({ keepMs: 60_000 })]
  await one.actions.mutateAsync(1)
  const late = other.actions.mutateAsync(1)
  await expect.poll(() => seen.length).toBe(2)
  one.actions.renew()
  expect(one.state().status).toBe('success')
  second.resolve('lost')
  await expect(late).rejects.toThrow('Nobody knows')
  await other.actions.mutateAsync(1)
  expect(new Set(seen).size).toBe(1)
})

test('isFailure that throws leaves it unknown, and the next press is a call', async () => {
  const { another, seen, origin } = await setup(500, 201)
  const isFailure = (): boolean => {
    throw new TypeError('cannot read status of undefined')
  }
  const { actions, state } = another({
    isFailure,
    async mutationFn(_variables, { key }) {
      const response = await fetch(origin, { method: 'POST', headers: { 'idempotency-key': key } })
      if (!response.ok) throw new Error('Network Error')
      return await response.text()
    },
  })
  await expect(actions.mutateAsync(1)).rejects.toThrow('Network Error')
  expect(state().status).toBe('unknown')
  await actions.mutateAsync(1)
  expect(state().status).toBe('success')
  expect(seen[1]).toBe(seen[0])
})

test('where no key can be made it is an error, and the next press is a call', async () => {
  const { mutation, seen } = await setup(201)
  const { randomUUID } = crypto
  const restore = (): unknown => Object.assign(crypto, { randomUUID })
  onTestFinished(() => void restore())
  Object.assign(crypto, { randomUUID: undefined })
  mutation.actions.mutate(1)
  await expect.poll(() => mutation.state().status).toBe('error')
  restore()
  expect(await mutation.actions.mutateAsync(1)).toBe('answer 1')
  expect(seen).toHaveLength(1)
})

test('a press after an abort is a call with the same key', async () => {
  const first = held()
  const { mutation, seen } = await setup(first.promise, 201)
  const { actions, state } = mutation
  const abort = new AbortController()
  // As an effect in StrictMode that aborts when it is cleaned up.
  actions.mutate(1, { signal: abort.signal })
  await expect.poll(() => seen.length).toBe(1)
  abort.abort()
  actions.mutate(1)
  // Joined, although the one before has ended by now.
  expect(await actions.mutateAsync(1)).toBe('answer 2')
  expect(state().status).toBe('success')
  expect(seen).toEqual([seen[0], seen[0]])
})

test('a call that was aborted before does not take the place of the next one', async () => {
  const [first, second] = [held(), held()]
  const { mutation, seen } = await setup(first.promise, second.promise)
  const { actions } = mutation
  const abort = new AbortController()
  const early = actions.mutateAsync(1, { signal: abort.signal })
  await expect.poll(() => seen.length).toBe(1)
  abort.abort()
  actions.mutate(1)
  await expect(early).rejects.toThrow('abort')
  await expect.poll(() => seen.length).toBe(2)
  const joined = actions.mutateAsync(1)
  second.resolve(201)
  expect(await joined).toBe('answer 2')
  expect(seen).toHaveLength(2)
})
