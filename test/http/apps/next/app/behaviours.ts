/** What route handlers do in Next beside returning a response. */
import { cookies } from 'next/headers'
import { forbidden, notFound, permanentRedirect, redirect } from 'next/navigation'
import { after, type NextRequest } from 'next/server'
import { ran } from './state'

export interface Context {
  readonly params: Promise<{ behaviour: string }>
}

const behaviours: Readonly<Record<string, (request: NextRequest) => unknown>> = {
  redirect: () => redirect('/charges/1;a=b?c=d'),
  'permanent-redirect': () => permanentRedirect('/charges/1'),
  'redirect-with-cookie': async () => {
    ;(await cookies()).set('session', 'secret')
    redirect('/charges/1')
  },
  'not-found': () => notFound(),
  forbidden: () => forbidden(),
  cookies: async () => {
    ;(await cookies()).set('session', 'secret')
    return Response.json({ logged: 'in' })
  },
  after: () => {
    after(() => void ran('after-the-answer'))
    return Response.json({})
  },
  request: async (request) => {
    const cookie = request.cookies.get('a')?.value
    const form = await request.formData()
    return Response.json({ path: request.nextUrl.pathname, cookie, amount: form.get('amount') })
  },
  octets: async (request) => new Response(await request.arrayBuffer()),
  unread: () => Response.json({}),
  fails: () => {
    throw new Error('boom')
  },
}

/** Does what the path names, with the number of its run in a field. */
export async function behave(request: NextRequest, { params }: Context): Promise<Response> {
  const { behaviour } = await params
  ran(request.nextUrl.pathname)
  return (await behaviours[behaviour]?.(request)) as Response
}
