/** The shapes of the fidelity suite, as resource routes. */
import type { ActionFunctionArgs } from 'react-router'
import { idempotent } from 'retrysafe/http/react-router'
import type { FidelityShapeName } from '../../../../../src/verification/http-fidelity.ts'
import { responsesOf } from '../../../shapes/responses.ts'
import { gate, idem, ran } from './state.server'

const responses = responsesOf(process.env.SHAPES_FILE ?? '')

export const plain = async ({ params }: ActionFunctionArgs): Promise<Response> =>
  await responses[params.shape as FidelityShapeName]()

export const keyed = idempotent(idem, { principal: 'anonymous' }, async (args: ActionFunctionArgs) => {
  const { shape = '' } = args.params
  ran(shape)
  if (shape !== 'gated') return await plain(args)
  await gate.promise
  return Response.json({ opened: true })
})
