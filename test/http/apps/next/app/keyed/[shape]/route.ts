export { keyed as HEAD, keyed as POST } from '../../shapes'
