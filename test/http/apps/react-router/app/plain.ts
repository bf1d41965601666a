export { plain as action, plain as loader } from './shapes.server'
