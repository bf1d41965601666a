export { end as action } from './ends.server'
