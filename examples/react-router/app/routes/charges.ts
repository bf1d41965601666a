import { idempotent } from 'retrysafe/http/react-router'
import type { ActionFunctionArgs } from 'react-router'
import { charge, countCharges, idem } from '../charges.server'

export const action = idempotent(
  idem,
  { principal: ({ request }) => request.headers.get('x-tenant'), required: true },
  async ({ request }: ActionFunctionArgs) => {
    const made = charge(Number((await request.json()).amount))
    return Response.json(made, { status: 201, headers: { Location: `/charges/${made.id}` } })
  },
)

export const loader = () => Response.json({ charges: countCharges() })
