/** Requests that are not protected: streamed in both directions, each side as fast as the other takes it. */
import type { Readable } from 'node:stream'
import type { Exchange } from './exchange.ts'
import { asFlat, toClient, toUpstream } from './fields.ts'
import { upstreamProblem } from './problem.ts'
import { declaredBytes, readRequestBody } from './request-body.ts'
import type { Flow, Upstream } from './upstream.ts'

/** Longest time to the head of an answer, and between two pieces of its body. */
const idleMs = 300_000
/** Bodies up to this size go out in one piece. */
const wholeBytesMax = 64 * 1024

export interface PassThrough {
  readonly upstream: Upstream
  readonly exchange: Exchange
  /** Path and query as they go out. */
  readonly target: string
  /** Lets an upstream that may be changing something finish when the client leaves. */
  readonly finishesAlone: boolean
  /** The request's body where it was read already; otherwise it streams. */
  readonly body?: Buffer
}

/** Resolves when the exchange has ended, however it did. */
export async function passThrough(pass: PassThrough): Promise<void> {
  const { request } = pass.exchange
  const declared = declaredBytes(request)
  if (pass.body !== undefined || declared === undefined || declared > wholeBytesMax) {
    return await stream(pass, pass.body ?? request)
  }
  // One write with the head is much cheaper than a stream, and a small body is here almost at once.
  const body = await readRequestBody(request, wholeBytesMax)
  return body instanceof Buffer ? await stream(pass, body) : undefined
}

function stream(pass: PassThrough, body: Buffer | Readable): Promise<void> {
  const { upstream, exchange, target, finishesAlone } = pass
  const { request, response } = exchange
  const { promise, resolve } = Promise.withResolvers<void>()
  let flow: Flow | undefined
  let gone = false
  let wrote = false

  response.on('drain', () => flow?.resume())
  response.on('close', () => {
    if (response.writableFinished) return
    gone = true
    if (finishesAlone) flow?.resume()
    else flow?.abort()
  })
  const headers = toUpstream(request, upstream.host)
  upstream.send(
    { method: exchange.method, path: target, headers, body },
    { idleMs },
    {
      onStart(controls) {
        flow = controls
        // Nobody waits for it any more, and nothing of it was sent.
        if (gone) flow.abort()
      },
      onHead(head) {
        if (gone) return
        response.writeHead(head.status, asFlat(toClient(head.headers)))
        // With the first piece of the body where that is here already; an event stream must not wait for it.
        process.nextTick(() => {
          if (!gone && !wrote) response.flushHeaders()
        })
      },
      onData(chunk) {
        wrote = true
        if (!gone && !response.write(chunk)) flow?.pause()
      },
      onEnd() {
        wrote = true
        if (!gone) response.end()
        resolve()
      },
      onFail(failure) {
        // A half answer must not look whole: the client sees the connection break.
        if (response.headersSent) response.destroy()
        else if (!gone) exchange.refuse(upstreamProblem(failure, false), 'upstream-failed')
        resolve()
      },
    },
  )
  return promise
}
