import { gate } from '../state'

export function POST(): Response {
  gate.resolve()
  return new Response(null)
}
