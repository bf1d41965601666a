export { keyed as action } from './shapes.server'
