/** `node:http`, `node:https` and the compatibility API of `node:http2`. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { describeLayer } from '../openapi/protected-operation.ts'
import { mount } from './mount.ts'
import { guardNode } from './node-guard.ts'
import type { ContextOf, IdempotencyContext, TransactionOption } from './context.ts'
import type { HttpEngine, IdempotentOptions } from './options.ts'
import type { GuardedRun, HttpGuard } from './protocol.ts'

export type { IdempotencyContext, TransactionContext } from './context.ts'
export type { HttpEngine, IdempotentOptions } from './options.ts'
export type { ProtocolAnswer } from './protocol.ts'
export { sendAnswer } from './node-answer.ts'
export { keepRawBody } from './node-request.ts'

/** A listener that also gets its attempt, `undefined` where the request is not protected. */
export type IdempotentListener<Request, Response, Context = IdempotencyContext> = (
  request: Request,
  response: Response,
  idempotency: Context | undefined,
) => unknown

/**
 * Puts idempotency in front of a request listener. A listener that throws, or rejects, answers 500, which by default
 * releases the key; the error becomes a warning of the process.
 *
 * @throws InvalidOptionError at construction
 * @example
 * createServer(idempotent(idem, { principal: (req) => tenantOf(req) }, (req, res) => {
 *   res.writeHead(201).end()
 * }))
 */
export function idempotent<
  Request extends IncomingMessage = IncomingMessage,
  Response extends ServerResponse = ServerResponse,
  Tx = unknown,
  Transaction extends TransactionOption | undefined = undefined,
>(
  idem: HttpEngine<Tx>,
  options: IdempotentOptions<Request, Transaction>,
  listener: IdempotentListener<Request, Response, ContextOf<Tx, Transaction>>,
): (request: Request, response: Response) => void {
  const { guard, principal, operation } = mount(idem, options)
  const layer = (request: Request, response: Response): void => {
    const run = (context: GuardedRun | undefined): void => {
      void callListener(guard, request, response, context, listener as IdempotentListener<Request, Response>)
    }
    guardNode(guard, principal, request, response, run).catch(() => failed(response))
  }
  return describeLayer(layer, operation)
}

async function callListener<Request, Response extends ServerResponse>(
  guard: HttpGuard,
  request: Request,
  response: Response,
  context: GuardedRun | undefined,
  listener: IdempotentListener<Request, Response>,
): Promise<void> {
  try {
    await listener(request, response, context)
  } catch (error) {
    process.emitWarning(error instanceof Error ? error : String(error))
    // The head that has been written is not the answer.
    if (context !== undefined && response.headersSent) guard.threw(context)
    failed(response)
  }
}

/** Answers 500 where that is still possible; otherwise the client must see that the answer is not whole. */
function failed(response: ServerResponse): void {
  if (response.headersSent) {
    response.end()
    response.destroy()
    return
  }
  response.statusCode = 500
  response.setHeader('Content-Type', 'text/plain')
  response.end('Internal Server Error')
}
