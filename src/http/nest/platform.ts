/** What differs between Nest's platforms: where Node's request and response are, and how an answer goes out. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { sendReply, type ReplyLike } from '../fastify-answer.ts'
import { unprotectedLine } from '../headers.ts'
import { sealAnswer, sendAnswer, sendRefusal } from '../node-answer.ts'
import type { IdempotencyContext, ProtocolAnswer } from '../protocol.ts'

/** The request that Nest hands to guards, interceptors and handlers: Express' or Fastify's. */
export interface NestRequest {
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly ip?: string | undefined
  readonly params?: unknown
  idempotency?: IdempotencyContext | null
}

/** One exchange on a platform. */
export interface Exchange {
  readonly own: NestRequest
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** The platform's route, for events and lists. */
  readonly route: string | undefined
  removeHeader(name: string): void
  markUnprotected(): void
  /** Sends an answer; resolves once Nest can do no harm to it. */
  answer(answer: ProtocolAnswer): Promise<void>
}

interface ExpressRequest extends IncomingMessage {
  readonly baseUrl?: string
  readonly route?: { readonly path?: unknown }
}

interface FastifyRequest extends NestRequest {
  readonly raw: IncomingMessage
  readonly routeOptions?: { readonly url?: string | undefined }
}

interface FastifyReply extends ReplyLike {
  readonly raw: ServerResponse
  removeHeader(name: string): unknown
}

export function exchangeOf(request: object, response: object): Exchange {
  return 'raw' in response
    ? fastifyExchange(request as FastifyRequest, response as FastifyReply)
    : expressExchange(request as ExpressRequest, response as ServerResponse)
}

function expressExchange(request: ExpressRequest, response: ServerResponse): Exchange {
  const path = request.route?.path
  return {
    own: request as NestRequest,
    request,
    response,
    route: typeof path === 'string' ? `${request.baseUrl ?? ''}${path}` : undefined,
    removeHeader: (name) => response.removeHeader(name),
    markUnprotected: () => void response.setHeader(...unprotectedLine),
    async answer(answer) {
      if (request.complete) sendAnswer(response, answer)
      else sendRefusal(request, response, answer)
      await sealAnswer(response)
      // Of `@Render()`: the template would be rendered, and might fail, for nobody.
      Object.assign(response, { render: () => {} })
    },
  }
}

function fastifyExchange(request: FastifyRequest, reply: FastifyReply): Exchange {
  return {
    own: request,
    request: request.raw,
    response: reply.raw,
    route: request.routeOptions?.url,
    removeHeader: (name) => void reply.removeHeader(name),
    markUnprotected: () => void reply.header(...unprotectedLine),
    async answer(answer) {
      sendReply(reply, answer)
      await sealAnswer(reply.raw)
      const same = (): FastifyReply => reply
      Object.assign(reply, { send: same, view: same })
    },
  }
}
