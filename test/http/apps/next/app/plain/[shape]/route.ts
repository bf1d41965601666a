export { plain as HEAD, plain as POST } from '../../shapes'
