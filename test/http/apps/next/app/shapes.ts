/** The shapes of the fidelity suite. */
import { idempotent } from 'retrysafe/http/next'
import type { FidelityShapeName } from '../../../../../src/verification/http-fidelity.ts'
import { responsesOf } from '../../../shapes/responses.ts'
import { gate, idem, ran } from './state'

interface Context {
  readonly params: Promise<{ shape: string }>
}

const responses = responsesOf(process.env.SHAPES_FILE ?? '')

export const plain = async (request: Request, { params }: Context): Promise<Response> =>
  headOf(request, await responses[(await params).shape as FidelityShapeName]())

export const keyed = idempotent(idem, { principal: 'anonymous' }, async (request, { params }: Context) => {
  const { shape } = await params
  if (request.method === 'POST') ran(shape)
  if (shape !== 'gated') return headOf(request, await responses[shape as FidelityShapeName]())
  await gate.promise
  return Response.json({ opened: true })
})

function headOf(request: Request, response: Response): Response {
  return request.method === 'HEAD' ? new Response(null, response) : response
}
