/** Whatever a body is made of, each attempt sends the same octets under the same content type. */
import { describe, expect, test } from 'vitest'
import { createIdempotentFetch } from '../../src/client/index.ts'
import { recording, reset, status } from './serving.ts'

const fetch = createIdempotentFetch({ backoff: 1, budget: { perSecond: 100 } })
const binary = new Uint8Array([0, 255, 1, 254, 10, 13])

function form(): FormData {
  const made = new FormData()
  made.set('amount', '100')
  made.set('receipt', new Blob([binary], { type: 'image/png' }), 'receipt.png')
  return made
}

function stream(...chunks: readonly string[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(new TextEncoder().encode(chunk))
      controller.close()
    },
  })
}

const json = { 'content-type': 'application/json' }

/** What is sent, the octets (where they are known) and the content type. */
const bodies: readonly (readonly [
  name: string,
  init: () => RequestInit & { duplex?: 'half' },
  octets: string | Uint8Array | undefined,
  contentType: RegExp | undefined,
])[] = [
  ['nothing', () => ({}), '', undefined],
  ['null', () => ({ body: null }), '', undefined],
  ['an empty text', () => ({ body: '' }), '', /^text\/plain/],
  ['text', () => ({ body: 'é' }), 'é', /^text\/plain;charset=utf-8$/i],
  ['text with a type', () => ({ body: '{"a":1}', headers: json }), '{"a":1}', /^application\/json$/],
  ['octets', () => ({ body: binary }), binary, undefined],
  ['an ArrayBuffer', () => ({ body: binary.slice().buffer }), binary, undefined],
  ['a part of a buffer', () => ({ body: binary.subarray(1, 3) }), binary.slice(1, 3), undefined],
  ['a Blob', () => ({ body: new Blob([binary], { type: 'image/png' }) }), binary, /^image\/png$/],
  ['a Blob without a type', () => ({ body: new Blob([binary]) }), binary, undefined],
  [
    'URLSearchParams',
    () => ({ body: new URLSearchParams({ a: '1 2' }) }),
    'a=1+2',
    /^application\/x-www-form-urlencoded;charset=UTF-8$/i,
  ],
  ['FormData', () => ({ body: form() }), undefined, /^multipart\/form-data; boundary=/],
  [
    'a stream',
    () => ({ body: stream('a', 'b'), duplex: 'half', headers: json }),
    'ab',
    /^application\/json$/,
  ],
  ['an empty stream', () => ({ body: stream(), duplex: 'half' }), '', undefined],
]

describe.each(bodies)('%s', (_name, init, octets, contentType) => {
  test.each<[string, (origin: string) => Promise<Response>]>([
    ['with an address', (origin) => fetch(origin, { method: 'POST', ...init() } as RequestInit)],
    ['as a Request', (origin) => fetch(new Request(origin, { method: 'POST', ...init() } as RequestInit))],
    [
      'in place of the body of a Request',
      (origin) =>
        fetch(new Request(origin, { method: 'POST', ...init() } as RequestInit), init() as RequestInit),
    ],
  ])('%s', async (_how, send) => {
    const server = await recording(reset, status(503), status(201))
    expect((await send(server.origin)).status).toBe(201)
    const [first, ...others] = server.received
    expect(others).toEqual([first, first])
    if (octets !== undefined) expect(first?.body).toEqual(Buffer.from(octets as string))
    else expect(first?.body.toString('latin1')).toContain('filename="receipt.png"')
    if (contentType === undefined) expect(first?.headers).not.toHaveProperty('content-type')
    else expect(first?.headers['content-type']).toMatch(contentType)
  })
})

test('a method without a body, as a Request', async () => {
  const server = await recording(reset, status(200))
  expect((await fetch(new Request(server.origin))).status).toBe(200)
  expect(server.received.map(({ method }) => method)).toEqual(['GET', 'GET'])
})

test('what the caller changes after the call has begun changes nothing', async () => {
  const server = await recording(reset, status(201))
  const octets = binary.slice()
  const params = new URLSearchParams({ amount: '100' })
  const headers = new Headers({ 'x-amount': '100' })
  const init = { method: 'POST', body: octets, headers }
  const sent = fetch(server.origin, init)
  octets.fill(7)
  headers.set('x-amount', '999')
  init.method = 'PUT'
  await sent
  const other = await recording(reset, status(201))
  const alsoSent = fetch(other.origin, { method: 'POST', body: params })
  params.set('amount', '999')
  await alsoSent
  expect(server.received).toHaveLength(2)
  for (const { method, body, headers: fields } of server.received) {
    expect([method, body, fields['x-amount']]).toEqual(['POST', Buffer.from(binary), '100'])
  }
  expect(other.received.map(({ body }) => body.toString())).toEqual(['amount=100', 'amount=100'])
})

test('a stream that never ends is ended by the signal, and by the deadline', async () => {
  const server = await recording(status(201))
  const endless = (): RequestInit & { duplex: 'half' } => ({
    ...{ method: 'POST', body: new ReadableStream<Uint8Array>(), duplex: 'half' },
  })
  const abort = new AbortController()
  const sent = fetch(server.origin, { ...endless(), signal: abort.signal })
  abort.abort('enough')
  await expect(sent).rejects.toBe('enough')
  const hasty = createIdempotentFetch({ deadline: 20 })
  await expect(hasty(server.origin, endless())).rejects.toMatchObject({
    ...{ code: 'not-applied', reason: 'deadline', attempts: 0 },
  })
  expect(server.received).toEqual([])
})

test('a stream that breaks is the end of the call: nothing was sent', async () => {
  const server = await recording(status(201))
  const broken = new Error('disk')
  const body = new ReadableStream({
    pull(controller) {
      controller.error(broken)
    },
  })
  const init = { method: 'POST', body, duplex: 'half' } as RequestInit
  await expect(fetch(server.origin, init)).rejects.toBe(broken)
  expect(server.received).toEqual([])
})

test('a Request that was read before is refused as fetch refuses it', async () => {
  const server = await recording(status(201))
  const request = new Request(server.origin, { method: 'POST', body: 'x' })
  await request.text()
  await expect(fetch(request)).rejects.toBeInstanceOf(TypeError)
  expect(server.received).toEqual([])
})
