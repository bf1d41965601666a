/** One request at the gateway's front, and the ways to refuse it. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { HeaderLine } from '../core/outcome.ts'
import type { GatewayConfig } from './config.ts'
import { corsFields } from './cors.ts'
import { asFlat } from './fields.ts'
import type { GatewayEvent, GatewayLog } from './log.ts'
import { type GatewayProblem, pageOf, problemBody } from './problem.ts'
import { declaredBytes } from './request-body.ts'

/** How much of a refused body is read and dropped, so that the client sees the refusal and not a reset. */
const droppedBytesMax = 16 * 1024 * 1024

export class Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly method: string
  /** The pattern that covers the request, for logs. */
  route: string | undefined
  readonly #log: GatewayLog
  readonly #cors: readonly string[]
  #awaitsContinue: boolean

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    awaitsContinue: boolean,
    front: { readonly log: GatewayLog; readonly config: Pick<GatewayConfig, 'cors'> },
  ) {
    this.request = request
    this.response = response
    this.method = request.method ?? ''
    this.#awaitsContinue = awaitsContinue
    this.#log = front.log
    this.#cors = front.config.cors
  }

  /** Asks for the body where the client waits to be asked (RFC 9110, section 10.1.1). */
  askForBody(): void {
    if (this.#awaitsContinue) this.response.writeContinue()
    this.#awaitsContinue = false
  }

  log(event: Omit<GatewayEvent, 'method' | 'route'>): void {
    this.#log({ ...event, method: this.method, ...(this.route === undefined ? {} : { route: this.route }) })
  }

  /** Answers with a problem of the gateway's own, and says so in the log. */
  refuse(problem: GatewayProblem, event: 'refused' | 'upstream-failed' | 'failed' = 'refused'): void {
    const { status, code, retryAfterS, closes } = problem
    this.log({ event, status, code })
    const headers: HeaderLine[] = [
      ['Content-Type', 'application/problem+json'],
      ['Cache-Control', 'no-store'],
      ['Link', `<${pageOf(problem)}>; rel="describedby"`],
    ]
    if (closes) headers.push(['Connection', 'close'])
    if (retryAfterS !== undefined) headers.push(['Retry-After', String(retryAfterS)])
    this.send(status, headers, problemBody(problem))
  }

  /** Answers whole, whether or not the request's body was read. */
  send(status: number, headers: readonly HeaderLine[], body: Uint8Array): void {
    const { request, response } = this
    const lines = asFlat(headers.filter(([name]) => name.toLowerCase() !== 'content-length'))
    if (this.#cors.length > 0) lines.push(...asFlat(corsFields(this.#cors, request.headers.origin)))
    if (status !== 204 && status !== 304) lines.push('Content-Length', String(body.length))
    if (request.complete || request.destroyed || declaredBytes(request) === 0) {
      response.writeHead(status, lines)
      response.end(body)
      return
    }
    lines.push('Connection', 'close')
    response.writeHead(status, lines)
    if (this.#awaitsContinue) {
      response.end(body)
      return
    }
    // Closing with octets unread would reset the connection and could take the answer away from the client.
    response.write(body)
    let bytes = 0
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > droppedBytesMax) response.end()
    })
    request.on('close', () => response.end())
    request.resume()
  }
}
