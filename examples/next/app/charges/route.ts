import type { NextRequest } from 'next/server'
import { idempotent } from 'retrysafe/http/next'
import { charge, countCharges, idem } from '../../lib/charges'

export const POST = idempotent(
  idem,
  { principal: (request) => request.headers.get('x-tenant'), required: true },
  async (request: NextRequest) => {
    const { amount } = (await request.json()) as { amount: number }
    const made = charge(amount)
    return Response.json(made, { status: 201, headers: { Location: `/charges/${made.id}` } })
  },
)

export function GET(): Response {
  return Response.json({ charges: countCharges() })
}
