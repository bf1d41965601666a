/**
 * One exchange with the upstream, over undici's dispatch, which gives octets and header lines as they are.
 *
 * queued     waiting for a connection: nothing was sent, so a failure proves that nothing took effect
 * sent       the first octet may be on its way: from here on a failure leaves the outcome unknown
 * answering  the head of the final answer is here
 * ended      exactly one of `onEnd`, `onUpgrade` and `onFail` was called; nothing leaves it
 *
 * Nothing is ever sent twice: each connection carries one request at a time, and undici repeats none of those.
 */
import type { Duplex, Readable } from 'node:stream'
import { Pool } from 'undici'
import type { HeaderLine } from '../core/outcome.ts'
import { asLines } from './fields.ts'

/** Connections to the upstream at once; more exchanges wait, unsent. */
const connectionsMax = 1_024
const connectTimeoutMs = 10_000
const headBytesMax = 64 * 1024
/**
 * How long an idle connection is used again where the upstream does not say how long it keeps them. Servers that
 * close after 2 s are common, and a request on a connection that just closed would leave its outcome unknown.
 */
const keepAliveMs = 1_000

export interface UpstreamRequest {
  readonly method: string
  readonly path: string
  /** Flat list of names and values, as they go out. */
  readonly headers: string[]
  readonly body: Buffer | Readable | null
  /** Asks to switch protocols. */
  readonly upgrade?: string
}

export interface ResponseHead {
  readonly status: number
  readonly headers: HeaderLine[]
}

/**
 * Why an exchange ended without a complete answer. `unsendable` and `unreachable`: nothing was sent. `timeout`
 * and `broken`: it was sent, and nobody knows what became of it.
 */
export type UpstreamFailure = 'unsendable' | 'unreachable' | 'timeout' | 'broken'

/** Slows and speeds the upstream's answer. */
export interface Flow {
  pause(): void
  resume(): void
  /** Takes the bound off the whole exchange: from now on only silence ends it. */
  letStream(): void
  /** Ends the exchange; `onFail` follows. */
  abort(): void
}

export interface ResponseSink {
  /** The first octet is about to be sent; `flow.abort()` here keeps it back. */
  onStart?(flow: Flow): void
  onHead(head: ResponseHead, flow: Flow): void
  onData(chunk: Buffer): void
  onEnd(): void
  onFail(failure: UpstreamFailure): void
  onUpgrade?(head: ResponseHead, socket: Duplex): void
}

export interface ExchangeBounds {
  readonly idleMs: number
  readonly deadlineMs?: number
}

export interface Upstream {
  /** As the Host field names it. */
  readonly host: string
  /**
   * Sends a request once. `idleMs` bounds the time to the head and between two pieces of the body, `deadlineMs`
   * the whole exchange from the first octet sent.
   */
  send(request: UpstreamRequest, bounds: ExchangeBounds, sink: ResponseSink): void
  /** Ends idle connections and breaks running exchanges. */
  close(): Promise<void>
}

class UpstreamTimeoutError extends Error {}

/** @param origin `http://host:port` or `https://host` */
export function createUpstream(origin: string): Upstream {
  const pool = new Pool(origin, {
    connections: connectionsMax,
    pipelining: 1,
    allowH2: false,
    maxHeaderSize: headBytesMax,
    keepAliveTimeout: keepAliveMs,
    connect: { timeout: connectTimeoutMs },
  })
  return {
    host: new URL(origin).host,
    send: (request, bounds, sink) => sendThrough(pool, request, bounds, sink),
    close: () => pool.destroy(),
  }
}

function sendThrough(pool: Pool, request: UpstreamRequest, bounds: ExchangeBounds, sink: ResponseSink): void {
  const { idleMs, deadlineMs } = bounds
  const { upgrade, ...rest } = request
  let sent = false
  let flow: Flow | undefined
  let deadline: NodeJS.Timeout | undefined
  const fail = (error: Error): void => {
    clearTimeout(deadline)
    sink.onFail(failureOf(error, sent))
  }
  const options = {
    ...rest,
    idempotent: false,
    headersTimeout: idleMs,
    bodyTimeout: idleMs,
    ...(upgrade === undefined ? {} : { upgrade }),
  } as unknown as Parameters<Pool['dispatch']>[0]
  const flowOf = (controller: Controller): Flow => ({
    pause: () => controller.pause(),
    resume: () => controller.resume(),
    letStream: () => clearTimeout(deadline),
    abort: () => controller.abort(new Error('aborted')),
  })
  try {
    pool.dispatch(options, {
      onRequestStart(controller) {
        sent = true
        if (deadlineMs !== undefined) {
          deadline = setTimeout(() => controller.abort(new UpstreamTimeoutError()), deadlineMs)
        }
        flow = flowOf(controller)
        sink.onStart?.(flow)
      },
      onResponseStart(controller, status) {
        // An interim answer (RFC 9110, section 15.2) is no answer.
        if (status < 200) return
        flow ??= flowOf(controller)
        sink.onHead({ status, headers: rawLines(controller) }, flow)
      },
      onResponseData: (_controller, chunk) => sink.onData(chunk),
      onResponseEnd() {
        clearTimeout(deadline)
        sink.onEnd()
      },
      onResponseError: (_controller, error) => fail(error),
      onRequestUpgrade(controller, status, _headers, socket) {
        clearTimeout(deadline)
        sink.onUpgrade?.({ status, headers: rawLines(controller) }, socket)
      },
    })
  } catch (error) {
    fail(error as Error)
  }
}

interface Controller {
  readonly rawHeaders?: unknown
  pause(): void
  resume(): void
  abort(reason: Error): void
}

function rawLines(controller: Controller): HeaderLine[] {
  return asLines((controller.rawHeaders ?? []) as (string | Uint8Array)[])
}

const timeoutCodes = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'])

function failureOf(error: Error & { code?: string }, sent: boolean): UpstreamFailure {
  if (!sent) return error.code === 'UND_ERR_INVALID_ARG' ? 'unsendable' : 'unreachable'
  if (error instanceof UpstreamTimeoutError || timeoutCodes.has(error.code ?? '')) return 'timeout'
  return 'broken'
}
