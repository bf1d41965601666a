/** What a call says of its operation when it ends, against a real server. */
import { describe, expect, test } from 'vitest'
import { createIdempotentFetch } from '../../src/client/index.ts'
import { type CallEnd, keyedCall, type KeyedContext } from '../../src/client/form-key-call.ts'
import { serve } from '../http/serving.ts'

interface Seen {
  readonly method: string | undefined
  readonly key: string | string[] | undefined
}

interface Shop {
  readonly origin: string
  readonly seen: readonly Seen[]
}

async function start(): Promise<Shop> {
  const seen: Seen[] = []
  const { origin } = await serve((request, response) => {
    seen.push({ method: request.method, key: request.headers['idempotency-key'] })
    switch (request.url) {
      case '/lost':
        request.socket.destroy()
        return
      case '/refused':
      case '/lost-then-refused':
        if (request.url !== '/refused' && seen.length === 1) {
          request.socket.destroy()
          return
        }
        response.writeHead(422, { 'content-type': 'application/problem+json' })
        response.end('{"code":"key-reused"}')
        return
      default:
        response.writeHead(Number(request.url?.slice(1))).end('{}')
    }
  })
  return { origin, seen }
}

type Work = (context: KeyedContext, origin: string) => Promise<unknown>

interface Given {
  readonly signal?: AbortSignal
  readonly isFailure?: () => boolean
  readonly sentAt?: number
  readonly retries?: number
}

/** How a call ends whose mutation function does this. */
async function endOf(work: Work, { retries = 0, ...given }: Given = {}): Promise<CallEnd> {
  const { origin } = await start()
  const options = { ...given, key: 'key-1', fetch: createIdempotentFetch({ retries, backoff: 1 }) }
  const { end, status } = await keyedCall({ ...options, onSend() {} }, (context) => work(context, origin))
  if (status !== 'success') expect(status).toBe(end === 'unknown' ? 'unknown' : 'error')
  return end
}

const post =
  (path: string): Work =>
  async ({ fetch }, origin) =>
    await fetch(`${origin}${path}`, { method: 'POST' })
const andThrow =
  (work: Work): Work =>
  async (context, origin) => {
    await work(context, origin)
    throw new Error('its own')
  }

describe('the end of a call', () => {
  test.each<[string, Work, CallEnd]>([
    ['an answer', post('/201'), 'done'],
    ['an answer that could not be read', andThrow(post('/201')), 'done'],
    ['a no that was returned', post('/402'), 'failed'],
    ['a no that was thrown', andThrow(post('/402')), 'failed'],
    ['no answer', post('/lost'), 'unknown'],
    [
      'no answer, which the function keeps to itself',
      (context, origin) => post('/lost')(context, origin).catch(() => {}),
      'unknown',
    ],
    ['an error before anything was sent', () => Promise.reject(new Error('its own')), 'unapplied'],
    ['a key that the server refuses', post('/refused'), 'unapplied'],
    ['being turned away', post('/429'), 'failed'],
    ['means of its own', async ({ key }) => key, 'done'],
    ['an error of means of its own', ({ key }) => Promise.reject(new Error(key.slice(0, 0))), 'unknown'],
    [
      'an error after a GET',
      async ({ fetch }, origin) => {
        await fetch(`${origin}/200`)
        throw new Error('its own')
      },
      'unapplied',
    ],
  ])('%s', async (_what, work, end) => {
    expect(await endOf(work)).toBe(end)
  })

  test('being turned away tells nothing of what was sent before', async () => {
    expect(await endOf(post('/429'), { sentAt: Date.now() })).toBe('unknown')
  })

  test('a key that is refused may have arrived before: by an attempt, another request, an earlier call', async () => {
    expect(await endOf(post('/lost-then-refused'), { retries: 1 })).toBe('unknown')
    const twice: Work = async (context, origin) => {
      await post('/lost')(context, origin).catch(() => {})
      await post('/refused')(context, origin)
    }
    expect(await endOf(twice)).toBe('unknown')
    expect(await endOf(post('/refused'), { sentAt: Date.now() })).toBe('unknown')
  })

  test('an abort leaves it unknown', async () => {
    const abort = new AbortController()
    const work: Work = async (context, origin) => {
      const sent = post('/201')(context, origin)
      abort.abort()
      await sent
    }
    expect(await endOf(work, { signal: abort.signal })).toBe('unknown')
  })

  test('an abort of means of its own leaves it unknown, too', async () => {
    const abort = new AbortController()
    const work: Work = ({ signal }) => {
      abort.abort()
      return Promise.reject(signal.reason as Error)
    }
    expect(await endOf(work, { signal: abort.signal })).toBe('unknown')
  })

  test('a request without a signal has that of the call', async () => {
    const abort = new AbortController()
    const work: Work = async ({ fetch }, origin) => {
      const init = { method: 'POST', signal: undefined as unknown as AbortSignal }
      const sent = fetch(`${origin}/201`, init)
      abort.abort()
      await sent
    }
    expect(await endOf(work, { signal: abort.signal })).toBe('unknown')
  })

  test('isFailure that throws knows nothing', async () => {
    const isFailure = (): boolean => {
      throw new Error('cannot read status of undefined')
    }
    const work: Work = ({ key }) => Promise.reject(new Error(key.slice(0, 0)))
    expect(await endOf(work, { isFailure })).toBe('unknown')
    expect(await endOf(() => Promise.reject(new Error('its own')), { isFailure })).toBe('unapplied')
  })

  test('isFailure knows errors that the client does not', async () => {
    const work: Work = ({ key }) => Promise.reject(new Error(key.slice(0, 0)))
    expect(await endOf(work, { isFailure: () => true })).toBe('failed')
    expect(await endOf(work, { isFailure: () => false })).toBe('unknown')
  })

  test('the key goes with what may change something, and is announced once before', async () => {
    const { origin, seen } = await start()
    const told: number[] = []
    const fetch = createIdempotentFetch()
    await keyedCall({ key: 'key-1', fetch, onSend: () => told.push(seen.length) }, async (context) => {
      await context.fetch(`${origin}/200`)
      await context.fetch(`${origin}/200`, { method: 'get' })
      await context.fetch(new Request(`${origin}/201`, { method: 'POST' }))
      await context.fetch(`${origin}/201`, { method: 'PUT' })
    })
    expect(seen).toEqual([
      { method: 'GET', key: undefined },
      { method: 'GET', key: undefined },
      { method: 'POST', key: '"key-1"' },
      { method: 'PUT', key: '"key-1"' },
    ])
    expect(told).toEqual([2])
  })
})
