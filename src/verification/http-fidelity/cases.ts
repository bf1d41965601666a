/** The cases of the fidelity suite: each shape twice under one key, and the situations around a request. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import { assertBroken, assertOmitted, assertReplay, assertSameAnswer, isReplay } from './compare.ts'
import { type FidelityShape, fidelityShapes } from './shapes.ts'
import { type Received, sendHttp, sendHttp2, type Sent } from './wire.ts'

/** A server under test, as the cases see it. */
export interface FidelityServer {
  /** On 127.0.0.1, HTTP/1.1. */
  readonly port: number
  /** On 127.0.0.1, HTTP/2 by prior knowledge, with the same routes and records. */
  readonly http2Port?: number
}

export interface FidelityCase {
  readonly name: string
  /** A part of the server that the case needs beside the shapes. */
  readonly needs?: 'http2' | 'compression'
  run(server: FidelityServer, cookies: 'kept' | 'left-out'): Promise<void>
}

const request: Pick<Sent, 'body' | 'headers'> = {
  body: '{"amount":100}',
  headers: { 'content-type': 'application/json' },
}
const patienceMs = 15_000

function keyed(shape: string, key: string, more: Partial<Sent> = {}): Sent {
  return {
    ...request,
    path: `/keyed/${shape}`,
    ...more,
    headers: { ...request.headers, 'idempotency-key': `"${key}"`, ...more.headers },
  }
}

/** How often the handler of a guarded shape has run. */
async function runsOf(server: FidelityServer, shape: string): Promise<number> {
  const { body } = await sendHttp(server.port, { method: 'GET', path: '/runs' })
  const runs = JSON.parse(body.toString()) as Partial<Record<string, number>>
  return runs[shape] ?? 0
}

/** Asks again until the answer is there; for what happens elsewhere in its own time. */
async function until<Value>(ask: () => Promise<Value | undefined>, what: string): Promise<Value> {
  for (const started = performance.now(); performance.now() - started < patienceMs; await sleep(10)) {
    const found = await ask()
    if (found !== undefined) return found
  }
  throw new assert.AssertionError({ message: `${what} did not happen` })
}

/** An answer that may break off before it begins. */
async function sendOrBreak(port: number, sent: Sent): Promise<Received | undefined> {
  try {
    return await sendHttp(port, sent)
  } catch {
    return undefined
  }
}

function shapeCase(shape: FidelityShape): FidelityCase {
  return {
    name: `${shape.name}: ${shape.does}`,
    run: async (server, cookies) => {
      const key = randomUUID()
      const before = await runsOf(server, shape.name)
      const plain = await sendOrBreak(server.port, { ...request, path: `/plain/${shape.name}` })
      const first = await sendOrBreak(server.port, keyed(shape.name, key))
      const second = await sendOrBreak(server.port, keyed(shape.name, key))
      const runs = (await runsOf(server, shape.name)) - before
      if (shape.end === 'broken') {
        assertBroken(first)
        assertBroken(second)
        return
      }
      assert.ok(plain !== undefined && first !== undefined && second !== undefined, 'an answer broke off')
      assertIs(plain, shape)
      assertSameAnswer(first, plain)
      if (shape.end === 'replayed') assertReplay(second, first, cookies)
      else if (shape.end === 'omitted') assertOmitted(second, first)
      else assertSameAnswer(second, plain)
      assert.equal(runs, shape.end === 'released' ? 2 : 1, 'how often the handler ran')
    },
  }
}

/** The server under test does offer the shape. */
function assertIs(plain: Received, shape: FidelityShape): void {
  assert.equal(plain.status, shape.status, `the shape ${shape.name} has another status`)
  if (shape.body !== undefined) {
    assert.ok(plain.body.equals(shape.body), `the shape ${shape.name} has another body`)
  }
  for (const [name, begin] of Object.entries(shape.fields ?? {})) {
    const value = plain.header(name) ?? ''
    assert.ok(value.startsWith(begin), `the shape ${shape.name} has the field ${name} as '${value}'`)
  }
}

const situations: readonly FidelityCase[] = [
  {
    name: 'a client that leaves while the handler works finds the answer when it asks again',
    async run(server, cookies) {
      const key = randomUUID()
      const before = await runsOf(server, 'gated')
      const started = async (): Promise<true | undefined> =>
        (await runsOf(server, 'gated')) > before ? true : undefined
      const leaves = until(started, 'the run of the handler')
      const left = await sendOrBreak(server.port, keyed('gated', key, { leaves }))
      assert.equal(left, undefined, 'the client left')
      await leaves
      await sendHttp(server.port, { path: '/open-gate' })
      const replay = await until(async () => {
        const answer = await sendHttp(server.port, keyed('gated', key))
        return answer.status === 409 ? undefined : answer
      }, 'the answer')
      const again = await sendHttp(server.port, keyed('gated', key))
      assert.deepEqual([replay.status, replay.body.toString()], [200, '{"opened":true}'])
      assert.ok(isReplay(replay) && isReplay(again), 'both later answers are replays')
      assertReplay(again, replay, cookies)
      assert.equal((await runsOf(server, 'gated')) - before, 1, 'how often the handler ran')
    },
  },
  {
    name: 'retries sent right after the first answer are replays, never refused',
    async run(server) {
      const key = randomUUID()
      const first = await sendHttp(server.port, keyed('json', key))
      for (let left = 20; left > 0; left--) {
        const retry = await sendHttp(server.port, keyed('json', key))
        assert.deepEqual([retry.status, isReplay(retry)], [first.status, true])
      }
    },
  },
  {
    name: 'HEAD is answered as without the layer, whatever key it carries',
    async run(server) {
      const plain = await sendHttp(server.port, { method: 'HEAD', path: '/plain/json' })
      const key = randomUUID()
      for (const _ of [1, 2]) {
        assertSameAnswer(await sendHttp(server.port, keyed('json', key, { method: 'HEAD' })), plain)
      }
    },
  },
  {
    name: 'Expect: 100-continue is answered 100 once, then as any other request',
    async run(server, cookies) {
      const key = randomUUID()
      let continued = 0
      const expecting = keyed('json', key, {
        headers: { expect: '100-continue' },
        onContinue: () => void (continued += 1),
      })
      const first = await sendHttp(server.port, expecting)
      assertReplay(await sendHttp(server.port, expecting), first, cookies)
      assert.deepEqual([first.status, isReplay(first), continued], [201, false, 2])
    },
  },
  {
    name: 'a chunked body with trailers is the same request as one with Content-Length',
    async run(server, cookies) {
      const key = randomUUID()
      const chunked = { body: ['{"amount"', ':100}'], trailers: { 'x-checksum': '1' } }
      const first = await sendHttp(server.port, keyed('json', key, chunked))
      assert.equal(first.status, 201)
      assertReplay(await sendHttp(server.port, keyed('json', key)), first, cookies)
    },
  },
  {
    name: 'one key over HTTP/1.1 and HTTP/2 is one request',
    needs: 'http2',
    async run(server) {
      const key = randomUUID()
      const before = await runsOf(server, 'json')
      const first = await sendHttp2(server.http2Port as number, keyed('json', key))
      const again = await sendHttp(server.port, keyed('json', key))
      const third = await sendHttp2(server.http2Port as number, keyed('json', key))
      assert.deepEqual([first.status, isReplay(first)], [201, false])
      for (const replay of [again, third]) {
        assert.ok(isReplay(replay), 'it is a replay')
        assert.deepEqual([replay.status, replay.body.toString()], [201, first.body.toString()])
        assert.equal(replay.header('location'), first.header('location'))
      }
      assert.equal((await runsOf(server, 'json')) - before, 1, 'how often the handler ran')
    },
  },
  {
    name: 'compression outside of the layer: each client gets the coding that it asked for',
    needs: 'compression',
    async run(server) {
      const key = randomUUID()
      const ask = (coding: string): Promise<Received> =>
        sendHttp(server.port, {
          ...keyed('file', key, { headers: { 'accept-encoding': coding } }),
          path: '/zipped/file',
        })
      const first = await ask('gzip')
      const plain = await ask('identity')
      const again = await ask('gzip')
      assert.deepEqual([first.header('content-encoding'), isReplay(first)], ['gzip', false])
      assert.deepEqual([plain.header('content-encoding'), isReplay(plain)], [undefined, true])
      assert.deepEqual([again.header('content-encoding'), isReplay(again)], ['gzip', true])
      assert.ok(gunzipSync(first.body).equals(plain.body), 'the plain body is the one that was zipped')
      assert.ok(gunzipSync(again.body).equals(plain.body), 'the body that is zipped again')
    },
  },
]

/** All cases, in the order of their shapes. */
export const fidelityCases: readonly FidelityCase[] = [...fidelityShapes.map(shapeCase), ...situations]
