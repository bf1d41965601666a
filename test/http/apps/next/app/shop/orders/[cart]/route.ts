import { idempotent } from 'retrysafe/http/next'
import { idem } from '../../../state'
import { order } from '../../order'

export const POST = idempotent(
  idem,
  { principal: 'anonymous', required: true },
  async (_request: Request, { params }: { params: Promise<{ cart: string }> }) =>
    Response.json({ order: await order((await params).cart) }, { status: 201 }),
)
