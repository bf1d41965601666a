/**
 * The conformance cases in transaction mode: no outcome is unknown after a crash, a 500 is not kept, and an answer over
 * the limit is refused.
 */
import { adapterConformance } from './adapter-conformance.ts'

adapterConformance('node-transaction', {
  without: ['crash-reject', 'store5xx', 'limit'],
  with: ['transaction'],
})
