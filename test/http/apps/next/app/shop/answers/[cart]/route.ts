/** Makes the answers of a cart wait, and lets them go. */
import { held } from '../../../state'

interface Context {
  readonly params: Promise<{ cart: string }>
}

export async function POST(_request: Request, { params }: Context): Promise<Response> {
  held.set((await params).cart, Promise.withResolvers())
  return new Response(null)
}

export async function DELETE(_request: Request, { params }: Context): Promise<Response> {
  held.get((await params).cart)?.resolve()
  return new Response(null)
}
