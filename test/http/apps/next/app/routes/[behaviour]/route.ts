import { redirect } from 'next/navigation'
import type { NextRequest } from 'next/server'
import { type IdempotencyContext, idempotent } from 'retrysafe/http/next'
import { behave, type Context } from '../../behaviours'
import { idem } from '../../state'

/** Nobody logged in is sent to log in. */
function principalOf(request: NextRequest): string {
  return request.headers.get('x-user') ?? redirect('/login')
}

const inner = idempotent(idem, { principal: principalOf }, behave)

export const POST = idempotent(
  idem,
  { principal: principalOf },
  async (request: NextRequest, context: Context, idempotency: IdempotencyContext | undefined) => {
    const { behaviour } = await context.params
    if (behaviour === 'context') {
      return Response.json({ key: idempotency?.key, fence: idempotency?.fence })
    }
    // Mounted twice: the second layer leaves a running request alone.
    return await inner(request, context)
  },
)
