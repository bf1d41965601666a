export { behave as POST } from '../../behaviours'
