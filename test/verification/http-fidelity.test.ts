/** The fidelity suite catches layers that do not keep what it asks for. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import {
  fidelityCaseNames,
  fidelityContent as content,
  httpFidelity,
} from '../../src/verification/http-fidelity.ts'

/** What a first answer was, as a careless layer keeps it. */
interface Kept {
  readonly status: number
  readonly headers: NodeJS.Dict<number | string | string[]>
  readonly body: string
}

const without = (headers: Kept['headers'], name: string): Kept['headers'] =>
  Object.fromEntries(Object.entries(headers).filter(([field]) => field !== name))

type Fault = (kept: Kept, response: ServerResponse) => void

const right: Fault = ({ status, headers, body }, response) => {
  response.writeHead(status, {
    ...without(headers, 'set-cookie'),
    'cache-control': 'no-store',
    'idempotent-replayed': 'true',
  } as Record<string, string>)
  response.end(Buffer.from(body, 'latin1'))
}

const changed =
  (change: (kept: Kept) => Kept): Fault =>
  (kept, response) =>
    right(change(kept), response)

function answer(shape: string, response: ServerResponse): void {
  const send = (
    status: number,
    headers: Record<string, string | string[]>,
    body?: string | Uint8Array,
  ): void => void response.writeHead(status, headers).end(body)
  const json = { 'content-type': 'application/json' }
  if (shape === 'json') send(201, { ...json, location: '/charges/1' }, JSON.stringify(content.json))
  else if (shape === 'octets') send(200, { 'content-type': 'application/octet-stream' }, content.octets)
  else if (shape === 'cookies') send(200, { ...json, 'set-cookie': ['a=1', 'b=2'] }, '{}')
  else send(402, json, JSON.stringify(content.declined))
}

/** A layer made for these tests: right, but for the fault. */
async function serverWith(fault: Fault): Promise<number> {
  const kept = new Map<string, Kept>()
  const runs: Record<string, number> = {}
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    const [, place, shape = ''] = (request.url ?? '').split('/')
    const key = `${request.headers['idempotency-key']?.toString()} ${shape}`
    const known = kept.get(key)
    request.resume()
    if (place === 'runs') response.end(JSON.stringify(runs))
    else if (place === 'plain') answer(shape, response)
    else if (known !== undefined) fault(known, response)
    else {
      runs[shape] = (runs[shape] ?? 0) + 1
      const { writeHead, end } = response
      let head: Pick<Kept, 'status' | 'headers'> = { status: 200, headers: {} }
      response.writeHead = ((status: number, headers: Kept['headers']) => {
        head = { status, headers }
        return writeHead.call(response, status, headers as Record<string, string>)
      }) as typeof writeHead
      response.end = ((body: string | Uint8Array) => {
        kept.set(key, { ...head, body: Buffer.from(body).toString('latin1') })
        return end.call(response, body, 'utf8')
      }) as typeof end
      answer(shape, response)
    }
  }
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

/** Names of the shapes that fail, of those that the server here knows. */
async function failing(fault: Fault): Promise<string[]> {
  const port = await serverWith(fault)
  const failed: string[] = []
  const pending: Promise<void>[] = []
  const known = ['json', 'octets', 'cookies', 'declined']
  const collect = (name: string, run: () => Promise<void>): void => {
    const shape = name.slice('planted, '.length).split(':')[0] as string
    if (!known.includes(shape)) return
    pending.push(run().catch(() => void failed.push(shape)))
  }
  httpFidelity({ name: 'planted', test: collect, server: () => ({ port }) })
  await Promise.all(pending)
  return failed.sort()
}

const all = ['cookies', 'declined', 'json', 'octets']

test.each<[string, Fault, string[]]>([
  ['nothing', right, []],
  ['an empty body', changed((kept) => ({ ...kept, body: '' })), all],
  ['another status', changed((kept) => ({ ...kept, status: 200 })), ['declined', 'json']],
  [
    'a body that went through text',
    changed((kept) => ({ ...kept, body: Buffer.from(kept.body, 'latin1').toString('utf8') })),
    ['json', 'octets'],
  ],
  ['a lost Location', changed((kept) => ({ ...kept, headers: without(kept.headers, 'location') })), ['json']],
  [
    'another media type',
    changed((kept) => ({ ...kept, headers: { ...kept.headers, 'content-type': 'text/plain' } })),
    all,
  ],
  [
    'cookies replayed although they are left out',
    ({ status, headers, body }, response) => {
      const more = { 'cache-control': 'no-store', 'idempotent-replayed': 'true' }
      response.writeHead(status, { ...headers, ...more } as Record<string, string>)
      response.end(Buffer.from(body, 'latin1'))
    },
    ['cookies'],
  ],
  ['no mark', ({ status, body }, response) => void response.writeHead(status).end(body), all],
])('%s', async (_, fault, caught) => {
  expect(await failing(fault)).toEqual(caught)
})

test('a skip must name a case and give a reason', () => {
  const options = { name: 'x', test: () => {}, server: () => ({ port: 1 }) }
  expect(() => httpFidelity({ ...options, skip: { nothing: 'none' } })).toThrow("'nothing'")
  expect(() => httpFidelity({ ...options, skip: { json: ' ' } })).toThrow('reason')
  expect(fidelityCaseNames).toContain('json')
})
