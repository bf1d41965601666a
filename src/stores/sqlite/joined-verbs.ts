/** The verbs inside a transaction that somebody else begins and ends. */
import type { FailedItem, RecordVerbs, Replies } from '../../core/store.ts'
import { hasTransaction, type SqliteTx } from './driver.ts'
import { asStoreError } from './errors.ts'
import { answerEach, type ConnectionVerbs } from './verbs.ts'

/**
 * @param verbs the prepared verbs of the connection; asked at each call, because preparing may fail
 * @param check throws when the verbs must not be used now
 */
export function joinedVerbs(
  db: SqliteTx,
  verbs: () => ConnectionVerbs | Promise<ConnectionVerbs>,
  now: () => number,
  check: () => void,
): RecordVerbs {
  async function answer<Item, Reply>(
    items: readonly Item[],
    one: (verbs: ConnectionVerbs, item: Item, at: number) => Reply | FailedItem,
  ): Promise<Replies<Reply | FailedItem>> {
    check()
    try {
      const prepared = await verbs()
      const at = now()
      return { now: at, replies: answerEach(items, (item) => one(prepared, item, at)) }
    } catch (error) {
      // Outside of a transaction each statement has committed by itself.
      throw asStoreError(error, hasTransaction(db) === false ? 'commit' : 'statement')
    }
  }

  return {
    claim: (claims) => answer(claims, (prepared, claim, at) => prepared.claim(claim, at)),
    supersede: (takeovers) => answer(takeovers, (prepared, takeover, at) => prepared.supersede(takeover, at)),
    settle: (settlements) =>
      answer(settlements, (prepared, settlement, at) => prepared.settle(settlement, at)),
    read: async (ids) => {
      const { now: at, replies } = await answer(ids, (prepared, id) => prepared.read(id))
      return { now: at, replies: replies.map(asRecord) }
    },
  }
}

/** `read` has no way to answer an item as failed, so a damaged record fails the call. */
export function asRecord<Value>(reply: Value | FailedItem): Value {
  if (isFailed(reply)) throw reply.error
  return reply
}

function isFailed(reply: unknown): reply is FailedItem {
  return typeof reply === 'object' && reply !== null && 'kind' in reply && reply.kind === 'failed'
}
