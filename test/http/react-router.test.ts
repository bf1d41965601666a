/** React Router as its users run it: an app that `react-router build` made and `react-router-serve` serves. */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fidelityContent, httpFidelity } from '../../src/verification/http-fidelity.ts'
import { eventually } from '../eventually.ts'
import { buildApp, type RunningApp, serveApp } from './apps/app.ts'
import { type Received, send } from './raw-client.ts'

const folder = mkdtempSync(join(tmpdir(), 'react-router-'))
const file = join(folder, 'receipt.txt')
let app: RunningApp

beforeAll(async () => {
  writeFileSync(file, fidelityContent.file)
  await buildApp({ program: '@react-router/dev/bin.cjs', args: ['build'], app: 'react-router' })
  app = await serveApp({
    program: '@react-router/serve/bin.cjs',
    args: ['build/server/index.js'],
    app: 'react-router',
    env: { SHAPES_FILE: file, NODE_ENV: 'production' },
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

describe('responses of resource routes', () => {
  httpFidelity({
    name: 'react-router',
    test,
    server: () => app,
    offers: ['compression'],
  })
})

const form = { 'content-type': 'application/x-www-form-urlencoded' }

function post(
  path: string,
  { key, body = '', headers }: { key?: string; body?: string; headers?: Readonly<Record<string, string>> },
): Promise<Received> {
  return send(app.port, { path, key: key ?? '', body, headers: { ...form, ...headers } })
}

/** Fields that a replay leaves out or adds, or that frame one sending. */
const ofOneSending = new Set([
  'set-cookie',
  'cache-control',
  'idempotent-replayed',
  'date',
  'connection',
  'keep-alive',
  'transfer-encoding',
  'content-length',
])

/** What counts of an answer. */
function answerOf({ status, body, lines }: Received): unknown[] {
  const kept = lines.filter(([name]) => !ofOneSending.has(name.toLowerCase()))
  const sorted = kept
    .map(([name, value]) => `${name.toLowerCase()}: ${value}`)
    .toSorted((one, other) => one.localeCompare(other))
  return [status, body.toString(), sorted]
}

describe('a resource route ends again as it ended', () => {
  test.each<[string, number, boolean]>([
    ['plain', 200, false],
    ['text', 200, false],
    ['nothing', 200, false],
    ['data', 201, true],
    ['bare-data', 200, true],
    ['thrown-data', 409, true],
    ['redirect-returned', 302, true],
    ['redirect-thrown', 303, true],
    ['response', 202, true],
    ['response-thrown', 404, true],
  ])('%s', async (kind, status, marked) => {
    const key = randomUUID()
    const first = await post(`/routes/${kind}`, { key })
    const again = await post(`/routes/${kind}`, { key })
    expect(first.status).toBe(status)
    expect(answerOf(again)).toEqual(answerOf(first))
    expect(first.header('idempotent-replayed')).toBeUndefined()
    expect(again.header('idempotent-replayed')).toBe(marked ? 'true' : undefined)
    expect(again.header('set-cookie')).toBeUndefined()
    const bare = await post(`/bare/${kind}`, {})
    expect(answerOf(bare)).toEqual(answerOf(first))
    expect(await runsOf(`/routes/${kind}`)).toBe(1)
  })

  test.each([
    ['a 503 that is thrown', 'unavailable', 503],
    ['a failure', 'fails', 500],
  ])('%s releases the key', async (_, kind, status) => {
    const key = randomUUID()
    expect((await post(`/routes/${kind}`, { key })).status).toBe(status)
    expect((await post(`/routes/${kind}`, { key })).status).toBe(status)
    expect(await runsOf(`/routes/${kind}`)).toBe(2)
  })

  test.each(['promise', 'stream'])('a %s inside of data() is refused, first and again', async (kind) => {
    const key = randomUUID()
    const answers = [await post(`/routes/${kind}`, { key }), await post(`/routes/${kind}`, { key })]
    for (const answer of answers) {
      expect(answer.status).toBe(500)
      expect(JSON.parse(answer.body.toString())).toMatchObject({ code: 'outcome-unstorable' })
    }
    expect(await runsOf(`/routes/${kind}`)).toBe(1)
  })

  test('a thrown response over the limit is replayed without its body', async () => {
    const key = randomUUID()
    const first = await post('/routes/large-thrown', { key })
    expect([first.status, first.body.length]).toEqual([404, 1_100_000])
    const again = await post('/routes/large-thrown', { key })
    expect([again.status, again.body.length, again.header('idempotency-replay-body')]).toEqual([
      404,
      0,
      'omitted',
    ])
  })

  test('the action reads the body, and has its attempt as the second argument', async () => {
    const key = randomUUID()
    const body = `idempotency-key=${key}&amount=5`
    expect((await post('/routes/body', { body })).body.toString()).toBe('{"amount":"5"}')
    expect((await post('/routes/body', { body })).header('idempotent-replayed')).toBe('true')
    const other = randomUUID()
    const { body: context } = await post('/routes/context', { key: other })
    expect(context.toString()).toBe(`{"key":"${other}","fence":1}`)
  })

  test('another request under the key is refused with a problem document', async () => {
    const key = randomUUID()
    await post('/routes/plain', { key, body: 'amount=1' })
    const other = await post('/routes/plain', { key, body: 'amount=2' })
    expect([other.status, other.header('content-type')]).toEqual([422, 'application/problem+json'])
  })

  test('a principal that redirects to log in is answered with that', async () => {
    const answer = await post('/routes/plain', { key: randomUUID(), headers: { 'x-nobody': '1' } })
    expect([answer.status, answer.header('location')]).toEqual([302, '/login'])
  })
})

/** What the page shows that was rendered after the action. */
function shown({ status, body }: Received): unknown[] {
  const text = /<output>(.*?)<\/output>/s.exec(body.toString())?.[1] ?? ''
  return [status, text.replaceAll('&quot;', '"')]
}

describe('a form, sent as a document and by fetch', () => {
  test('the page is rendered with a new key each time', async () => {
    const page = async (): Promise<string | undefined> =>
      /name="idempotency-key" value="([^"]*)"/.exec(
        await (await fetch(`${app.origin}/form/plain`)).text(),
      )?.[1]
    const key = await page()
    expect(key).toMatch(/^[0-9a-f-]{36}$/)
    expect(await page()).not.toBe(key)
  })

  test.each([
    ['plain', 200],
    ['data', 201],
    ['response', 202],
    ['thrown-data', 409],
    ['response-thrown', 404],
  ])('a reload of the page that shows %s shows it again', async (kind, status) => {
    const body = `idempotency-key=${randomUUID()}`
    const before = await runsOf(`/form/${kind}`)
    const first = await post(`/form/${kind}`, { body })
    expect(first.status).toBe(status)
    expect(first.body.toString()).toContain('seq')
    expect(shown(await post(`/form/${kind}`, { body }))).toEqual(shown(first))
    expect(await runsOf(`/form/${kind}`)).toBe(before + 1)
  })

  test.each(['plain', 'rich', 'data', 'thrown-data', 'response', 'response-thrown', 'redirect-thrown'])(
    'a data request that ends with %s ends so again, also after a document did',
    async (kind) => {
      const body = `idempotency-key=${randomUUID()}`
      const before = await runsOf(`/form/${kind}`)
      const document = await post(`/form/${kind}`, { body })
      const first = await post(`/form/${kind}.data`, { body })
      expect(first.header('content-type')).toMatch(/^text\/x-script/)
      expect(answerOf(await post(`/form/${kind}.data`, { body }))).toEqual(answerOf(first))
      expect(await runsOf(`/form/${kind}`)).toBe(before + 1)
      const fresh = await post(`/form/${kind}.data`, { body: `idempotency-key=${randomUUID()}` })
      const seq = (text: string, to: number): string => text.replaceAll(String(1000 + before + to), 'N')
      expect(seq(first.body.toString(), 1)).toBe(seq(fresh.body.toString(), 2))
      expect([document.status, first.status]).toEqual(
        kind === 'redirect-thrown' ? [303, 202] : [fresh.status, fresh.status],
      )
    },
  )

  test('a double click has one effect, and both pages show it', async () => {
    const body = `idempotency-key=${randomUUID()}`
    const clicks = [post('/form/gated', { body }), post('/form/gated', { body })]
    await eventually(async () => expect(await runsOf('/form/gated')).toBe(1))
    await post('/open-gate', {})
    const answers = await Promise.all(clicks)
    expect(answers.map(shown)).toEqual(Array(2).fill([200, '{"seq":1001}']))
  })

  test('a refusal is what onRefused returns, or the boundary of the route', async () => {
    const missing = await post('/form/plain', { body: 'amount=1' })
    expect(shown(missing)).toEqual([400, '{"refused":"key-missing"}'])
    const twice = await post('/form/plain', { body: 'idempotency-key=a&idempotency-key=b' })
    expect(shown(twice)).toEqual([400, '{"refused":"key-malformed"}'])
    const thrown = await post('/form/plain?throws', { body: 'amount=1' })
    expect(shown(thrown)[0]).toBe(400)
    expect(shown(thrown)[1]).toContain('key-missing')
  })

  test('a multipart form has its key in a field too', async () => {
    const key = randomUUID()
    const multipart = async (): Promise<string> => {
      const body = new FormData()
      body.append('idempotency-key', key)
      body.append('receipt', new File(['one'], 'r.txt'))
      const response = await fetch(`${app.origin}/routes/context`, { method: 'POST', body })
      return await response.text()
    }
    const first = await multipart()
    expect(first).toBe(`{"key":"${key}","fence":1}`)
    expect(await multipart()).toBe(first)
  })
})
