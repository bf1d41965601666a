/** What it means that two answers are the same. */
import assert from 'node:assert/strict'
import type { Received } from './wire.ts'

/** Fields of one connection, or of how the octets were framed on it. */
const framing: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'trailer',
  'date',
  'content-length',
])

/**
 * Fields of one sending, which a replay makes anew or leaves out. (RFC 9110, sections 7.6.1 and 6.6.1; RFC 9111,
 * section 3.1.)
 */
const ofOneSending =
  /^(?:age|expires|via|alt-svc|server-timing|proxy-.*|x-request-id|request-id|traceparent|tracestate|x-?ratelimit.*|access-control-.*)$/

/** Fields that a replay adds, or may change so that no cache keeps it. */
const ofReplays: ReadonlySet<string> = new Set(['idempotent-replayed', 'cache-control'])

type Line = readonly [name: string, value: string]

function endToEnd(answer: Received, without: (name: string) => boolean = () => false): Line[] {
  const lines = answer.lines.map(([name, value]): Line => [name.toLowerCase(), value])
  const kept = lines.filter(([name]) => !framing.has(name) && !without(name))
  // Lines of one name keep their order.
  return kept.toSorted(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0))
}

/** The answer through the layer is the one without it. */
export function assertSameAnswer(first: Received, plain: Received): void {
  assert.equal(first.status, plain.status, 'the status')
  assert.equal(first.body.toString('latin1'), plain.body.toString('latin1'), 'the body')
  assert.deepEqual(endToEnd(first), endToEnd(plain), 'the fields')
  assert.deepEqual([first.whole, plain.whole], [true, true], 'whether the answer is whole')
  assert.equal(isReplay(first), false, 'the first answer is no replay')
  const length = plain.header('content-length')
  if (length !== undefined) assert.equal(first.header('content-length'), length, 'Content-Length')
}

/** Whether an answer says that it is a replay. */
export function isReplay(answer: Received): boolean {
  return answer.header('idempotent-replayed') === 'true'
}

/** The replay is the first answer again. `cookies`: whether `Set-Cookie` is replayed, in its order, or left out. */
export function assertReplay(replay: Received, first: Received, cookies: 'kept' | 'left-out'): void {
  assert.equal(isReplay(replay), true, 'the second answer is a replay')
  assert.equal(replay.status, first.status, 'the status of the replay')
  assert.equal(replay.body.toString('latin1'), first.body.toString('latin1'), 'the body of the replay')
  assert.equal(replay.whole, true, 'the replay is whole')
  const leftOut = (name: string): boolean =>
    ofReplays.has(name) || ofOneSending.test(name) || (cookies === 'left-out' && name === 'set-cookie')
  assert.deepEqual(
    endToEnd(replay, (name) => ofReplays.has(name)),
    endToEnd(first, leftOut),
    'the fields',
  )
  assert.notEqual(replay.header('cache-control'), undefined, 'a replay says how it may be cached')
}

/** The replay has the head of the first answer, and says that its body is not kept. */
export function assertOmitted(replay: Received, first: Received): void {
  assert.equal(isReplay(replay), true, 'the second answer is a replay')
  assert.equal(replay.status, first.status, 'the status of the replay')
  assert.equal(replay.body.length, 0, 'the body of the replay')
  assert.equal(replay.header('idempotency-replay-body'), 'omitted')
}

/** Nobody can take this answer, `undefined` where none began, for a whole success. */
export function assertBroken(answer: Received | undefined): void {
  const isWholeSuccess = answer !== undefined && answer.whole && answer.status < 400
  assert.equal(isWholeSuccess, false, 'a broken answer looks like a whole success')
}
