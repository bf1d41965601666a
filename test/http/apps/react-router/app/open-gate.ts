import { gate } from './state.server'

export const action = () => {
  gate.resolve()
  return new Response(null)
}
