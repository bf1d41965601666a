/**
 * A function in a process of its own, as Lambda runs it: it is given an event and the time that is left, and is
 * killed in the middle of its work when the time is over. Here the test gives, and kills.
 */
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { idempotentApi } from '../../src/lambda/index.ts'
import { dynamodbStore } from '../../src/stores/dynamodb.ts'
import { clientOf } from '../stores/dynamodb-client.ts'
import type { apiV2 } from './events.ts'

/** What the test sends. */
export interface Invoked {
  readonly event: ReturnType<typeof apiV2>
  readonly remainingMs: number
}

const [endpoint = '', table = '', onUnknown = 'hold'] = process.argv.slice(2)
const idem = createIdempotency({ store: dynamodbStore({ client: clientOf(endpoint), table }), sweep: false })

const handler = idempotentApi(
  idem,
  { principal: 'anonymous', onUnknown: onUnknown as 'hold' | 'rerun' },
  async (event: Invoked['event'], _context, idempotency) => {
    process.send?.({ started: idempotency?.fence })
    // Hangs until it is killed, as a call to a service that does not answer.
    if (event.headers['hang'] !== undefined) await new Promise(() => {})
    return { statusCode: 201, body: `fence ${idempotency?.fence}` }
  },
)

process.on('message', (invoked: Invoked) => {
  const { event, remainingMs } = invoked
  void handler(event, { getRemainingTimeInMillis: () => remainingMs }).then((result) =>
    process.send?.({ result }),
  )
})
process.send?.('ready')
