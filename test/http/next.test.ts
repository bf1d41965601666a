/** Next.js as its users run it: an app that `next build` made and `next start` serves. */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fidelityContent, httpFidelity } from '../../src/verification/http-fidelity.ts'
import { eventually } from '../eventually.ts'
import { buildApp, type RunningApp, serveApp } from './apps/app.ts'
import { callAction } from './apps/next-client.ts'
import { send, type Received } from './raw-client.ts'

const program = 'next/dist/bin/next'
const folder = mkdtempSync(join(tmpdir(), 'next-'))
const file = join(folder, 'receipt.txt')
let app: RunningApp

beforeAll(async () => {
  writeFileSync(file, fidelityContent.file)
  await buildApp({ program, args: ['build'], app: 'next' })
  app = await serveApp({
    program,
    args: ['start', '--hostname', '127.0.0.1'],
    app: 'next',
    env: { SHAPES_FILE: file },
  })
}, 300_000)

afterAll(async () => {
  await app?.close()
  rmSync(folder, { recursive: true })
})

async function runsOf(name: string): Promise<number> {
  const response = await fetch(`${app.origin}/runs`)
  return ((await response.json()) as Partial<Record<string, number>>)[name] ?? 0
}

describe('answers of route handlers', () => {
  httpFidelity({ name: 'next', test, server: () => app, offers: ['compression'] })
})

interface Posting {
  readonly key?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | readonly string[]
}

function post(path: string, { key, headers, body = '' }: Posting = {}): Promise<Received> {
  return send(app.port, {
    path,
    body,
    headers: { ...(key === undefined ? {} : { 'idempotency-key': key, 'x-user': 'u1' }), ...headers },
  })
}

/** What counts of an answer, without what each sending has for itself. */
function headOf({ status, body, header }: Received): unknown[] {
  return [status, body.toString(), header('location'), header('content-type')]
}

const form = { 'content-type': 'application/x-www-form-urlencoded' }

describe('what Next throws is an answer', () => {
  test.each<[string, string, Readonly<Record<string, string>>, number]>([
    ['redirect', 'redirect', {}, 307],
    ['redirect after a form', 'redirect', form, 303],
    ['permanentRedirect', 'permanent-redirect', {}, 308],
    ['notFound', 'not-found', {}, 404],
  ])('%s', async (_, behaviour, headers, status) => {
    const key = randomUUID()
    const bare = await post(`/bare/${behaviour}`, { headers })
    expect(bare.status).toBe(status)
    const first = await post(`/routes/${behaviour}`, { key, headers })
    const again = await post(`/routes/${behaviour}`, { key, headers })
    expect(headOf(first)).toEqual(headOf(bare))
    expect(headOf(again)).toEqual(headOf(bare))
    expect([first.header('idempotent-replayed'), again.header('idempotent-replayed')]).toEqual([
      undefined,
      'true',
    ])
    const other = await post(`/routes/${behaviour}`, { key, headers, body: 'x=1' })
    expect(other.status).toBe(422)
  })

  test('a cookie that was set belongs to the first sending', async () => {
    for (const behaviour of ['cookies', 'redirect-with-cookie']) {
      const key = randomUUID()
      const first = await post(`/routes/${behaviour}`, { key })
      const again = await post(`/routes/${behaviour}`, { key })
      expect(first.header('set-cookie')).toMatch(/^session=secret/)
      expect(again.header('set-cookie')).toBeUndefined()
      expect(headOf(again)).toEqual(headOf(first))
      expect(await runsOf(`/routes/${behaviour}`)).toBe(1)
    }
  })

  test('forbidden releases the key like any 403, and so does a failure', async () => {
    for (const [behaviour, status] of [
      ['forbidden', 403],
      ['fails', 500],
    ] as const) {
      const key = randomUUID()
      expect((await post(`/bare/${behaviour}`)).status).toBe(status)
      expect((await post(`/routes/${behaviour}`, { key })).status).toBe(status)
      expect((await post(`/routes/${behaviour}`, { key })).status).toBe(status)
      expect(await runsOf(`/routes/${behaviour}`)).toBe(2)
    }
  })

  test('a principal that redirects to log in is answered with that', async () => {
    const answer = await post('/routes/unread', { headers: { 'idempotency-key': randomUUID() } })
    expect([answer.status, answer.header('location')]).toEqual([307, '/login'])
  })
})

describe('the handler has its own request', () => {
  test('a NextRequest with its body unread', async () => {
    const key = randomUUID()
    const posting = { key, headers: { ...form, cookie: 'a=1' }, body: 'amount=5' }
    const first = await post('/routes/request', posting)
    expect(JSON.parse(first.body.toString())).toEqual({ path: '/routes/request', cookie: '1', amount: '5' })
    expect(headOf(await post('/routes/request', posting))).toEqual(headOf(first))
  })

  test('octets as sent, and a body that nobody reads', async () => {
    const body = 'x'.repeat(300_000)
    expect((await post('/routes/octets', { key: randomUUID(), body })).body.toString()).toBe(body)
    expect((await post('/routes/unread', { key: randomUUID(), body })).status).toBe(200)
  })

  test('its params, and its attempt as the third argument', async () => {
    const key = randomUUID()
    const { body } = await post('/routes/context', { key })
    expect(JSON.parse(body.toString())).toEqual({ key, fence: 1 })
  })

  test('a body over the limit is refused, also where no length announces it', async () => {
    const large = 'x'.repeat(1_100_000)
    for (const body of [large, [large, 'x']]) {
      expect((await post('/routes/octets', { key: randomUUID(), body })).status).toBe(413)
    }
  })

  test('after() runs once, for the run and not for the replay', async () => {
    const key = randomUUID()
    await post('/routes/after', { key })
    await eventually(async () => expect(await runsOf('after-the-answer')).toBe(1))
    expect((await post('/routes/after', { key })).header('idempotent-replayed')).toBe('true')
    expect(await runsOf('/routes/after')).toBe(1)
  })
})

interface RenderedForm {
  readonly fields: Readonly<Record<string, string>>
}

/** The fields of a form, as a browser without scripts would send them. */
async function renderedForm(id: string): Promise<RenderedForm> {
  const html = await (await fetch(`${app.origin}/actions`)).text()
  const inside = new RegExp(`<form id="${id}"[^>]*>(.*?)</form>`, 's').exec(html)?.[1] ?? ''
  const inputs = Array.from(inside.matchAll(/<input[^>]*>/g), ([input]) => input)
  const attribute = (input: string, name: string): string =>
    (new RegExp(` ${name}="([^"]*)"`).exec(input)?.[1] ?? '').replaceAll('&quot;', '"')
  return {
    fields: Object.fromEntries(inputs.map((input) => [attribute(input, 'name'), attribute(input, 'value')])),
  }
}

async function submit({ fields }: RenderedForm, changed: Record<string, string> = {}): Promise<Response> {
  const body = new FormData()
  for (const [name, value] of Object.entries({ ...fields, ...changed })) body.append(name, value)
  return await fetch(`${app.origin}/actions`, { method: 'POST', body, redirect: 'manual' })
}

/** What the form that keeps a state shows after it was sent. */
async function shownState(response: Response): Promise<unknown> {
  const html = await response.text()
  const shown = /<output>(.*?)<\/output>/s.exec(html)?.[1] ?? ''
  return JSON.parse(shown.replaceAll('&quot;', '"'))
}

describe('server actions from a form', () => {
  test('every rendering of the form has a key of its own', async () => {
    const keys = [await renderedForm('pay'), await renderedForm('pay')].map(
      ({ fields }) => fields['idempotency-key'],
    )
    expect(keys[0]).toMatch(/^[0-9a-f-]{36}$/)
    expect(keys[0]).not.toBe(keys[1])
  })

  test('a double click has one effect, and both are redirected', async () => {
    const before = await runsOf('pay')
    const rendered = await renderedForm('pay')
    const answers = await Promise.all([submit(rendered), submit(rendered)])
    const late = await submit(rendered)
    const locations = [...answers, late].map((answer) => [answer.status, answer.headers.get('location')])
    expect(locations).toEqual(Array(3).fill([303, `/actions?paid=${before + 1}&amount=100`]))
    expect(await runsOf('pay')).toBe(before + 1)
    expect(late.headers.getSetCookie()).toEqual([])
  })

  test('the form sent again with another amount is refused', async () => {
    const before = await runsOf('pay')
    const rendered = await renderedForm('pay')
    await submit(rendered)
    expect((await submit(rendered, { amount: '200' })).status).toBe(500)
    expect(await runsOf('pay')).toBe(before + 1)
  })

  test('with useActionState, a duplicate shows the first state and a refusal shows its own', async () => {
    const before = await runsOf('pay-with-state')
    const rendered = await renderedForm('state')
    const first = { paid: before + 1, amount: '100' }
    expect(await shownState(await submit(rendered))).toEqual(first)
    expect(await shownState(await submit(rendered))).toEqual(first)
    expect(await shownState(await submit(rendered, { amount: '200' }))).toEqual({ error: 'key-reused' })
    expect(await shownState(await submit(rendered, { 'idempotency-key': '' }))).toEqual({
      error: 'key-malformed',
    })
    expect(await runsOf('pay-with-state')).toBe(before + 1)
  })

  test('the state that came before is no part of the request', async () => {
    const key = randomUUID()
    const before = await runsOf('pay-with-state')
    const body = new FormData()
    body.append('idempotency-key', key)
    body.append('amount', '7')
    const first = await callAction(app.origin, 'payWithState', {}, body)
    expect(first).toEqual({ kind: 'value', value: { paid: before + 1, amount: '7' } })
    expect(await callAction(app.origin, 'payWithState', { paid: before + 1 }, body)).toEqual(first)
    const missing = new FormData()
    expect(await callAction(app.origin, 'payWithState', {}, missing)).toEqual({
      kind: 'value',
      value: { error: 'key-missing' },
    })
  })
})

describe('server actions from a program', () => {
  test('a value comes back equal', async () => {
    const key = randomUUID()
    const first = await callAction(app.origin, 'values', 'rich', key)
    expect(first).toEqual({
      kind: 'value',
      value: {
        date: new Date(86_400_000),
        map: new Map([['a', 1n]]),
        set: new Set([undefined, Number.NaN]),
        octets: new Uint8Array([0, 255]),
        nested: [{ none: undefined, nothing: null }],
      },
    })
    expect(await callAction(app.origin, 'values', 'rich', key)).toEqual(first)
    expect(await runsOf('values rich')).toBe(1)
  })

  test('a value that cannot be kept is refused, first and again, and does not run again', async () => {
    const key = randomUUID()
    const ends = [
      await callAction(app.origin, 'values', 'form', key),
      await callAction(app.origin, 'values', 'form', key),
    ]
    expect(ends.map(({ kind }) => kind)).toEqual(['failed', 'failed'])
    expect(await runsOf('values form')).toBe(1)
  })

  test('notFound is a result; forbidden and a failure are none', async () => {
    for (const [kind, runs] of [
      ['not-found', 1],
      ['forbidden', 2],
      ['fails', 2],
    ] as const) {
      const key = randomUUID()
      const first = await callAction(app.origin, 'values', kind, key)
      expect(first.kind).toBe('failed')
      expect(await callAction(app.origin, 'values', kind, key)).toEqual(first)
      expect(await runsOf(`values ${kind}`)).toBe(runs)
    }
  })

  test('a redirect is one again', async () => {
    const body = new FormData()
    body.append('idempotency-key', randomUUID())
    const first = await callAction(app.origin, 'pay', body)
    expect(first.kind).toBe('redirect')
    expect(await callAction(app.origin, 'pay', body)).toEqual(first)
  })

  test('a call while the first one runs waits for its value', async () => {
    const key = randomUUID()
    const calls = [1, 2].map(() => callAction(app.origin, 'values', 'gated', key))
    await eventually(async () => expect(await runsOf('values gated')).toBe(1))
    await fetch(`${app.origin}/open-gate`, { method: 'POST' })
    expect(await Promise.all(calls)).toEqual(Array(2).fill({ kind: 'value', value: 'opened' }))
    expect(await runsOf('values gated')).toBe(1)
  })

  test('files are compared by what is in them', async () => {
    const key = randomUUID()
    const withFile = (text: string): FormData => {
      const body = new FormData()
      body.append('idempotency-key', key)
      body.append('receipt', new File([text], 'r.txt', { type: 'text/plain' }))
      return body
    }
    const first = await callAction(app.origin, 'payWithState', {}, withFile('one'))
    expect(await callAction(app.origin, 'payWithState', {}, withFile('one'))).toEqual(first)
    expect(await callAction(app.origin, 'payWithState', {}, withFile('two'))).toEqual({
      kind: 'value',
      value: { error: 'key-reused' },
    })
  })

  test('a handler written as a function has its attempt', async () => {
    const key = randomUUID()
    expect(await callAction(app.origin, 'attempt', key)).toMatchObject({
      value: { fence: 1, downstream: expect.any(String) },
    })
  })
})
