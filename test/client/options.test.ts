/** Options that break a rule are refused when the client is made, not at its first call or never. */
import axios from 'axios'
import { describe, expect, test } from 'vitest'
import { idempotentAdapter } from '../../src/client/axios.ts'
import { idempotentGot } from '../../src/client/got.ts'
import { circuitBreaker, createIdempotentFetch, hedgedFetch } from '../../src/client/index.ts'
import { fallbackKeeper, keptFetch, memoryKeeper, resumeKept } from '../../src/client/keepers/index.ts'
import { idempotentKy } from '../../src/client/ky.ts'
import { idempotentOpenapiFetch } from '../../src/client/openapi-fetch.ts'
import { idempotentInterceptor } from '../../src/client/undici.ts'

type Make = (options: object) => unknown

const makers: readonly (readonly [name: string, make: Make])[] = [
  ['createIdempotentFetch', createIdempotentFetch],
  ['createIdempotentFetch', idempotentOpenapiFetch],
  ['idempotentKy', idempotentKy],
  ['idempotentGot', idempotentGot],
  ['idempotentInterceptor', idempotentInterceptor],
  ['idempotentAdapter', (options) => idempotentAdapter(axios, options)],
]

const full = {
  ...{ retries: 2, backoff: '50ms', backoffMax: '1s', timeout: '5s', deadline: '10s', lifetime: '48h' },
  ...{ methods: ['POST', 'x-pay'], keyHeader: 'X-Request-Id', keyFormat: 'bare', onRetry: () => {} },
  ...{ budget: { ratio: 0.1, perSecond: 5 }, breaker: circuitBreaker(), refresh: () => undefined },
}

describe.each(makers)('%s', (owner, make) => {
  test('takes all that it knows, and options that are not there', () => {
    expect(() => make(full)).not.toThrow()
    expect(() => make(Object.fromEntries(Object.keys(full).map((name) => [name, undefined])))).not.toThrow()
    expect(() => make({})).not.toThrow()
  })

  test('refuses a name that it does not know, with the one that is meant', () => {
    expect(() => make({ lifetme: '1h' })).toThrow(
      `Option ${owner}.lifetme is not known. Did you mean lifetime?`,
    )
  })

  test.each<[object, string]>([
    [{ keyFormat: 'qouted' }, "Option keyFormat must be 'quoted' or 'bare', got \"qouted\"."],
    [
      { keyHeader: 'idempotency key' },
      'Option keyHeader must be the name of a field, got "idempotency key".',
    ],
    [{ keyHeader: '' }, 'Option keyHeader must be the name of a field, got "".'],
    [
      { methods: 'POST' },
      "Option methods must be a list of methods such as ['POST', 'PATCH'], got \"POST\".",
    ],
    [{ methods: ['POST', 1] }, 'Option methods must be a list of methods'],
    [{ onRetry: true }, 'Option onRetry must be a function, got true.'],
    [{ refresh: 'token' }, 'Option refresh must be a function, got "token".'],
    [{ breaker: { failures: 3 } }, 'Option breaker must be a circuitBreaker(), got an object.'],
    [{ breaker: null }, 'Option breaker must be a circuitBreaker(), got null.'],
    [{ budget: 0.2 }, 'Option budget must be an object such as { ratio: 0.2, perSecond: 10 }, got 0.2.'],
    [{ budget: { ration: 0.2 } }, 'Option budget.ration is not known. Did you mean ratio?'],
    [{ budget: { ratio: -1 } }, 'Option budget must be of numbers from 0.'],
    [{ retries: 1.5 }, 'Option retries must be a whole number from 0 to 100, got 1.5.'],
    [{ timeout: '1 s' }, 'Option timeout must be a duration'],
  ])('refuses %o', (options, message) => {
    expect(() => make(options)).toThrow(message)
  })
})

test('a library that sends by itself takes no fetch; the others take a function', () => {
  for (const [owner, make] of makers.slice(3)) {
    expect(() => make({ fetch: globalThis.fetch })).toThrow(`Option ${owner}.fetch is not known.`)
  }
  for (const [, make] of makers.slice(0, 3)) {
    expect(() => make({ fetch: globalThis.fetch })).not.toThrow()
    expect(() => make({ fetch: 'undici' })).toThrow('Option fetch must be a function, got "undici".')
  }
})

test('of the circuit breaker and of hedging', () => {
  const make: Make = circuitBreaker
  expect(() => make({ cooldown: '1s' })).toThrow(
    'Option circuitBreaker.cooldown is not known. Did you mean coolDown?',
  )
  expect(() => hedgedFetch({ after: 'p95', hedges: 2 } as { after: 'p95' })).toThrow(
    'Option hedgedFetch.hedges is not known. Known: after, fetch, keyHeader.',
  )
})

describe('of what keeps calls', () => {
  const given = { fetch: createIdempotentFetch(), keeper: memoryKeeper() }
  const kept: Make = (options) => keptFetch(options as typeof given)
  const resume: Make = async (options) => await resumeKept(options as typeof given)
  const fallback: Make = (options) => fallbackKeeper(options as Parameters<typeof fallbackKeeper>[0])

  test('keptFetch', () => {
    expect(() => kept({ ...given, keptField: [] })).toThrow('keptFetch.keptField is not known. Did you mean')
    expect(() => kept({ keeper: given.keeper })).toThrow('Option fetch must be made by createIdempotentFetch')
    expect(() => kept({ fetch: given.fetch })).toThrow('Option keeper must be a keeper such as')
    expect(() => kept({ ...given, keeper: new Map() })).toThrow('Option keeper must be a keeper such as')
  })

  test('a call of keptFetch: nothing is sent under a misspelt intent', async () => {
    const sent: unknown[] = []
    const pay = keptFetch({ ...given, fetch: async (input) => Response.json(sent.push(input)) })
    const call = pay('https://api.example/charges', {
      method: 'POST',
      idempotency: { intend: ['pay', 7] } as object,
    })
    await expect(call).rejects.toThrow('Option idempotency.intend is not known. Did you mean intent?')
    expect(sent).toEqual([])
  })

  test('resumeKept', async () => {
    await expect(resume({ ...given, concurency: 2 })).rejects.toThrow('Did you mean concurrency?')
    await expect(resume({ fetch: given.fetch })).rejects.toThrow('Option keeper must be a keeper such as')
  })

  test('fallbackKeeper', () => {
    const { keeper } = given
    const onFallback = (): void => {}
    expect(() => fallback({ keeper, fallback: keeper, onFallbak: onFallback })).toThrow('mean onFallback?')
    expect(() => fallback({ keeper, fallback: keeper })).toThrow('Option onFallback must be a function')
    expect(() => fallback({ keeper, onFallback })).toThrow('Option fallback must be a keeper such as')
  })
})
