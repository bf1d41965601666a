/** The verbs of the store: one conditional request for each item, whose refusal shows what is there. */
import { StoreError } from '../../core/errors.ts'
import type { IdempotencyRecord, RecordId } from '../../core/record.ts'
import type {
  Claim,
  ClaimReply,
  FailedItem,
  Renewal,
  RenewalReply,
  Replies,
  Settlement,
  SettlementReply,
  Takeover,
  TakeoverReply,
} from '../../core/store.ts'
import { bounded, type DynamodbClient, type Item, type KeysToGet } from './client.ts'
import { asStoreError, isConditionFailure, itemOf } from './errors.ts'
import { integer, keyAttribute, keyOf, recordOf } from './items.ts'
import { eachSideBySide } from './parallel.ts'
import { claimRequest, renewRequest, settleRequest, supersedeRequest } from './requests.ts'
import type { ServerTime } from './server-clock.ts'

export interface Table {
  readonly client: DynamodbClient
  readonly name: string
}

/** One conditional write that the server made, or the item by which it did not. */
type Written<Answer> =
  | { readonly kind: 'written'; readonly answer: Answer }
  | { readonly kind: 'refused'; readonly item: Item | undefined }

export function claim(
  table: Table,
  time: ServerTime,
  claims: readonly Claim[],
): Promise<Replies<ClaimReply>> {
  const { client, name } = table
  return each(
    time,
    claims,
    (asked) => asked.id,
    async (asked): Promise<ClaimReply> => {
      const request = claimRequest(name, asked, time)
      const written = await write(table, asked.id, (options) => client.putItem(request, options))
      if (written.kind === 'written') return { kind: 'claimed' }
      // An emulator that shows no item has been read after; by then the record may be gone.
      if (written.item === undefined)
        throw new StoreError('transient', 'A record was removed as it was looked at.')
      return { kind: 'found', record: recordOf(written.item, time.earliest) }
    },
  )
}

export function supersede(
  table: Table,
  time: ServerTime,
  takeovers: readonly Takeover[],
): Promise<Replies<TakeoverReply>> {
  const { client, name } = table
  return each(
    time,
    takeovers,
    (takeover) => takeover.claim.id,
    async (takeover): Promise<TakeoverReply> => {
      const request = supersedeRequest(name, takeover, time)
      const written = await write(table, takeover.claim.id, (options) => client.updateItem(request, options))
      if (written.kind === 'refused') return refused(written.item, time)
      return { kind: 'superseded', fence: integer(written.answer.Attributes ?? {}, 'fence') }
    },
  )
}

export function renew(
  table: Table,
  time: ServerTime,
  renewals: readonly Renewal[],
): Promise<Replies<RenewalReply>> {
  const { client, name } = table
  return each(
    time,
    renewals,
    ({ id }) => id,
    async (renewal): Promise<RenewalReply> => {
      const request = renewRequest(name, renewal, time)
      // What is there instead does not matter.
      const written = await attempt((options) => client.updateItem(request, options))
      return { kind: written.kind === 'written' ? 'renewed' : 'lost' }
    },
  )
}

export function settle(
  table: Table,
  time: ServerTime,
  settlements: readonly Settlement[],
): Promise<Replies<SettlementReply>> {
  const { client, name } = table
  return each(
    time,
    settlements,
    ({ id }) => id,
    async (settlement): Promise<SettlementReply> => {
      const request = settleRequest(name, settlement, time)
      const written = await write(table, settlement.id, (options) => client.updateItem(request, options))
      return written.kind === 'written' ? { kind: 'settled' } : refused(written.item, time)
    },
  )
}

function refused(
  item: Item | undefined,
  time: ServerTime,
): { readonly kind: 'refused'; readonly record: IdempotencyRecord | undefined } {
  return { kind: 'refused', record: item === undefined ? undefined : recordOf(item, time.earliest) }
}

export async function read(
  table: Table,
  time: ServerTime,
  ids: readonly RecordId[],
): Promise<Replies<IdempotencyRecord | undefined>> {
  const items = await readItems(table, ids)
  const replies = ids.map((id) => {
    const item = items.get(id)
    return item === undefined ? undefined : recordOf(item, time.earliest)
  })
  return { now: time.earliest, replies }
}

/** Keys that one request may ask for. */
const keysMax = 100
/** A request is answered up to 16 MB; the rest is asked for again, as long as there is less of it each time. */
const emptyAnswersMax = 8
const emptyAnswerMs = 20

/** Items by id, by consistent reads. @throws StoreError */
export async function readItems(table: Table, ids: readonly RecordId[]): Promise<ReadonlyMap<string, Item>> {
  const items = new Map<string, Item>()
  const keys = [...new Set(ids)].map(keyOf)
  const [only] = keys
  if (keys.length === 1 && only !== undefined) {
    const item = await readItem(table, only)
    if (item !== undefined) items.set(ids[0] as string, item)
    return items
  }
  for (let at = 0; at < keys.length; at += keysMax) {
    await readPart(table, keys.slice(at, at + keysMax), items)
  }
  return items
}

async function readItem({ client, name }: Table, key: Item): Promise<Item | undefined> {
  try {
    return (await client.getItem({ TableName: name, Key: key, ConsistentRead: true }, bounded())).Item
  } catch (error) {
    throw asStoreError(error)
  }
}

async function readPart({ client, name }: Table, keys: Item[], items: Map<string, Item>): Promise<void> {
  let asked: Record<string, KeysToGet> = { [name]: { Keys: keys, ConsistentRead: true } }
  for (let empty = 0; ; ) {
    const { Responses: found, UnprocessedKeys: left } = await client
      .batchGetItem({ RequestItems: asked }, bounded())
      .catch((error: unknown) => {
        throw asStoreError(error)
      })
    const answered = found?.[name] ?? []
    for (const item of answered) items.set(item[keyAttribute]?.S as string, item)
    const rest = left?.[name]?.Keys ?? []
    if (rest.length === 0) return
    if (answered.length === 0 && ++empty > emptyAnswersMax) {
      throw new StoreError('transient', 'The server has no capacity for the request now.')
    }
    if (answered.length === 0) await pause(emptyAnswerMs * 2 ** empty)
    asked = { [name]: { Keys: rest, ConsistentRead: true } }
  }
}

/** Waits half to all of it, so that processes that were refused together come back apart. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms * (0.5 + Math.random() / 2))
  })
}

async function write<Answer>(
  table: Table,
  id: RecordId,
  send: (options: ReturnType<typeof bounded>) => Promise<Answer>,
): Promise<Written<Answer>> {
  const written = await attempt(send)
  if (written.kind === 'written' || written.item !== undefined) return written
  return { kind: 'refused', item: await readItem(table, keyOf(id)) }
}

async function attempt<Answer>(
  send: (options: ReturnType<typeof bounded>) => Promise<Answer>,
): Promise<Written<Answer>> {
  try {
    return { kind: 'written', answer: await send(bounded()) }
  } catch (error) {
    if (isConditionFailure(error)) return { kind: 'refused', item: itemOf(error) as Item | undefined }
    throw asStoreError(error)
  }
}

async function each<Asked, Reply>(
  time: ServerTime,
  items: readonly Asked[],
  idOf: (item: Asked) => RecordId,
  one: (item: Asked) => Promise<Reply | FailedItem>,
): Promise<Replies<Reply | FailedItem>> {
  const replies = await eachSideBySide(items, idOf, (item) => orFailed(() => one(item)))
  return { now: time.earliest, replies }
}

async function orFailed<Reply>(call: () => Promise<Reply>): Promise<Reply | FailedItem> {
  try {
    return await call()
  } catch (error) {
    if (error instanceof StoreError) return { kind: 'failed', error }
    throw error
  }
}
