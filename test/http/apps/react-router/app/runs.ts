import { runs } from './state.server'

export const loader = () => Response.json(runs)
