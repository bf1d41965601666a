export { keyed as POST } from '../../shapes'
