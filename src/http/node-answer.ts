/** Writes an answer of the protocol to a Node response. */
import { ServerResponse } from 'node:http'
import { finished } from 'node:stream/promises'
import { isOfThisSending, valuesByName } from './headers.ts'
import type { NodeRequest, NodeResponse } from './node-request.ts'
import type { ProtocolAnswer } from './protocol.ts'

const textBytesMax = 16 * 1024
const nodeEnd: unknown = ServerResponse.prototype.end

/**
 * How to give octets to an `end`. Node's own sends a text in one write with the head, and octets in two; latin1 is
 * octets as text. A middleware that wrapped it gets octets.
 */
export function endArgumentsOf(
  end: unknown,
  octets: Uint8Array,
): [chunk: string, encoding: 'latin1'] | [chunk: Uint8Array, encoding: 'utf8'] {
  if (end !== nodeEnd || octets.length > textBytesMax) return [octets, 'utf8']
  return [Buffer.from(octets.buffer, octets.byteOffset, octets.length).toString('latin1'), 'latin1']
}

/**
 * Sends an answer, such as one of `retrysafe/http/precondition`. Fields that were set for this sending (CORS,
 * cookies, request ids) stay.
 *
 * @example
 * if (seen.kind === 'answer') return sendAnswer(res, seen.answer)
 */
export function sendAnswer(response: NodeResponse, answer: ProtocolAnswer): void {
  for (const [name, values] of valuesByName(answer.headers)) {
    response.setHeader(name, values.length === 1 ? (values[0] as string) : values)
  }
  response.statusCode = answer.status
  const [chunk, encoding] = endArgumentsOf(response.end, answer.body)
  ;(response as ServerResponse).end(chunk, encoding)
}

/** Takes away what a handler set, so that another answer can take the place of its own. */
export function clearAnswer(response: NodeResponse): void {
  for (const name of response.getHeaderNames()) {
    if (!isOfThisSending(name) && name !== 'vary') response.removeHeader(name)
  }
  if (!('stream' in response)) response.statusMessage = ''
  // Set by the handler for its own answer, although they are of a sending. A session must not begin with an
  // attempt that is discarded.
  for (const name of ['content-length', 'transfer-encoding', 'trailer', 'set-cookie'])
    response.removeHeader(name)
}

/** Refuses a request whose body may still be coming: the connection is not used again. */
export function sendRefusal(request: NodeRequest, response: NodeResponse, answer: ProtocolAnswer): void {
  if (request.httpVersionMajor < 2 && !request.complete) response.setHeader('Connection', 'close')
  sendAnswer(response, answer)
}

/**
 * Takes a response that has been answered out of the hands of a framework that will try to answer it once more:
 * resolves when the answer has left, or its client has, and from then on drops what is written to the response.
 */
export async function sealAnswer(response: NodeResponse): Promise<void> {
  // Not before: a layer below, such as a session, may still be at work on the answer.
  await finished(response as ServerResponse).catch(() => {})
  const same = (): NodeResponse => response
  Object.assign(response, {
    setHeader: same,
    setHeaders: same,
    appendHeader: same,
    removeHeader: same,
    writeHead: same,
    flushHeaders: same,
    write: dropWrite,
    end: same,
  })
}

/** Takes a piece as if it had left; whoever waits for its callback gets it. */
function dropWrite(...given: unknown[]): true {
  const callback = given.at(-1)
  if (typeof callback === 'function') process.nextTick(callback as () => void)
  return true
}
