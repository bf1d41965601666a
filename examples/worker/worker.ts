/**
 * A Worker whose charge is safe to retry. Its compatibility flags must name `nodejs_compat`.
 *
 * Records live in a Redis that speaks Upstash's REST protocol: a Worker has no memory that its next request could
 * count on, and no sockets that it could keep.
 */
import { Redis } from '@upstash/redis/cloudflare'
import { createIdempotency } from 'retrysafe'
import { idempotent } from 'retrysafe/http/fetch'
import { redisStore } from 'retrysafe/stores/redis'

interface Env {
  readonly UPSTASH_REDIS_REST_URL?: string
  readonly UPSTASH_REDIS_REST_TOKEN?: string
}

let charges = 0

/** One instance for each request: what a Worker opens in one request, another one may not use. */
function handlerOf(env: Env): (request: Request) => Promise<Response> {
  const url = env.UPSTASH_REDIS_REST_URL ?? ''
  const client = new Redis({ url, token: env.UPSTASH_REDIS_REST_TOKEN ?? '' })
  const idem = createIdempotency({ store: redisStore({ client }) })
  return idempotent(
    idem,
    { principal: (request) => request.headers.get('x-tenant') ?? 'anonymous', required: true },
    async (request) => {
      charges += 1
      const body = (await request.json()) as { amount: number }
      const headers = { Location: `/charges/${charges}` }
      return Response.json({ id: charges, ...body }, { status: 201, headers })
    },
  )
}

const worker: { fetch(request: Request, env: Env): Promise<Response> } = {
  async fetch(request, env) {
    if (request.method === 'GET') return Response.json({ charges })
    return await handlerOf(env)(request)
  },
}

export default worker
