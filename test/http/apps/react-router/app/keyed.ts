export { keyed as action, plain as loader } from './shapes.server'
