/** The ways in which an action of React Router ends. */
import { type ActionFunctionArgs, data, redirect } from 'react-router'
import type { IdempotencyContext } from 'retrysafe/http/react-router'
import { gate, ran } from './state.server'

const ends: Readonly<Record<string, (seq: number, args: ActionFunctionArgs) => unknown>> = {
  plain: (seq) => ({ seq }),
  text: (seq) => `seq ${seq}`,
  nothing: () => null,
  rich: () => ({ date: new Date(86_400_000), map: new Map([['a', 1n]]), none: undefined }),
  data: (seq) =>
    data(
      { seq },
      { status: 201, headers: { 'X-App': '1', 'Set-Cookie': 'a=1', 'Cache-Control': 'private' } },
    ),
  'bare-data': (seq) => data({ seq }),
  'thrown-data': (seq) => {
    throw data({ seq }, { status: 409 })
  },
  'redirect-returned': (seq) => redirect(`/?seq=${seq}`, { headers: { 'Set-Cookie': 'a=1' } }),
  'redirect-thrown': (seq) => {
    throw redirect(`/?seq=${seq}`, 303)
  },
  response: (seq) => Response.json({ seq }, { status: 202, headers: { 'X-App': '1' } }),
  'response-thrown': (seq) => {
    throw Response.json({ seq }, { status: 404, headers: { 'X-App': '1' } })
  },
  'large-thrown': () => {
    throw new Response('x'.repeat(1_100_000), { status: 404 })
  },
  unavailable: () => {
    throw new Response('later', { status: 503 })
  },
  fails: () => {
    throw new Error('boom')
  },
  promise: () => data({ later: Promise.resolve(1) }),
  stream: () => data({ stream: new ReadableStream() }),
  body: async (_, { request }) => Response.json({ amount: (await request.formData()).get('amount') }),
  gated: async (seq) => {
    await gate.promise
    return { seq }
  },
}

export async function end(args: ActionFunctionArgs, idempotency?: IdempotencyContext): Promise<unknown> {
  const { kind = '' } = args.params
  // A number that stands for nothing else in an answer.
  const seq = 1000 + ran(args.url.pathname)
  if (kind === 'context') return { key: idempotency?.key, fence: idempotency?.fence }
  return await ends[kind]?.(seq, args)
}
