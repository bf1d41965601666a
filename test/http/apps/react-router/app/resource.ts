import { type ActionFunctionArgs, redirect } from 'react-router'
import { idempotent } from 'retrysafe/http/react-router'
import { end } from './ends.server'
import { idem } from './state.server'

const options = {
  principal: ({ request }: { request: Request }) => {
    if (request.headers.has('x-nobody')) throw redirect('/login')
    return 'anonymous'
  },
}

const inner = idempotent(idem, options, end)

// Mounted twice: the second layer leaves a running request alone.
export const action = idempotent(idem, options, async (args: ActionFunctionArgs, idempotency) =>
  args.params.kind === 'context' ? await end(args, idempotency) : await inner(args),
)
