/** The shapes as a plain fetch handler. */
import { getRequestListener } from '@hono/node-server'
import type { Idempotency } from '../../../src/engine/idempotency.ts'
import { idempotent } from '../../../src/http/fetch.ts'
import type { FidelityShapeName } from '../../../src/verification/http-fidelity.ts'
import { listenShapes } from './listen.ts'
import { responsesOf } from './responses.ts'
import type { RunningShapes, ShapeState } from './server.ts'

/** A fetch handler as others mount it: it answers on every path of the suite. */
export function fetchHandler(
  idem: Idempotency,
  state: ShapeState,
  file: string,
): (request: Request) => Promise<Response> {
  const responses = responsesOf(file)
  const shapeOf = (request: Request): string => new URL(request.url).pathname.split('/')[2] as string
  const answer = async (request: Request): Promise<Response> => {
    const response = await responses[shapeOf(request) as FidelityShapeName]()
    return request.method === 'HEAD' ? new Response(null, response) : response
  }
  const guarded = idempotent(idem, { principal: 'anonymous' }, async (request) => {
    const shape = shapeOf(request)
    if (request.method === 'POST') state.ran(shape)
    if (shape !== 'gated') return await answer(request)
    await state.opened
    return Response.json({ opened: true })
  })
  const routes = async (request: Request): Promise<Response> => {
    const { pathname } = new URL(request.url)
    if (pathname === '/runs') return Response.json(state.runs)
    if (pathname === '/open-gate') state.open()
    else if (pathname.startsWith('/keyed/')) return await guarded(request)
    else if (pathname.startsWith('/plain/')) return await answer(request)
    return new Response(null)
  }
  return async (request) => {
    try {
      return await routes(request)
    } catch {
      return Response.json({ error: 'failed' }, { status: 500 })
    }
  }
}

export function fetchShapes(idem: Idempotency, state: ShapeState, file: string): Promise<RunningShapes> {
  const listener = getRequestListener(fetchHandler(idem, state, file), { errorHandler: () => {} })
  return listenShapes((request, response) => void listener(request, response), true)
}
