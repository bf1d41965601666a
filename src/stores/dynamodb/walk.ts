/** Walks over the whole table, page by page: for the sweep and for lists. */
import type { IdempotencyRecord } from '../../core/record.ts'
import type { ListPage, ListQuery, SweepReply } from '../../core/store.ts'
import { newestFirst } from '../scan/newest-first.ts'
import { bounded, type Item } from './client.ts'
import { asStoreError, isConditionFailure } from './errors.ts'
import { integer, itemVersion, keyAttribute, recordOf, string } from './items.ts'
import { eachSideBySide } from './parallel.ts'
import { entombRequest, removeRequest, sweptAttributes } from './requests.ts'
import type { ServerTime } from './server-clock.ts'
import type { Table } from './verbs.ts'

/** Items that one sweep looks at: a request reads 1 MB at most. */
const sweptMax = 1_000

export interface Sweep {
  /** Looks at the next items, at most `limit`, from where the last one ended. */
  next(limit: number, time: ServerTime): Promise<SweepReply>
}

/** A sweep that goes round the table. Any number of them may; one that ends early leaves nothing half done. */
export function sweepOf(table: Table): Sweep {
  let from: Item | undefined
  return {
    async next(limit, time): Promise<SweepReply> {
      const count = Math.max(1, Math.min(sweptMax, Math.trunc(limit)))
      const page = await scan(table, { ...sweptAttributes, Limit: count, ExclusiveStartKey: from })
      const done = await eachSideBySide(page.items, keyText, (item) => sweepItem(table, item, time))
      from = page.next
      return {
        removed: done.filter((what) => what === 'removed').length,
        entombed: done.filter((what) => what === 'entombed').length,
        more: from !== undefined,
      }
    },
  }
}

async function sweepItem(
  { client, name }: Table,
  item: Item,
  { earliest }: ServerTime,
): Promise<'removed' | 'entombed' | 'kept'> {
  try {
    const due = dueOf(item, earliest)
    if (due === 'removed') await client.deleteItem(removeRequest(name, item), bounded())
    if (due === 'entombed') await client.updateItem(entombRequest(name, item), bounded())
    return due
  } catch (error) {
    // Somebody was there first.
    if (isConditionFailure(error)) return 'kept'
    throw asStoreError(error)
  }
}

/** An item that cannot be read is kept: whoever claims its key is told. */
function dueOf(item: Item, now: number): 'removed' | 'entombed' | 'kept' {
  try {
    if (integer(item, 'v') !== itemVersion) return 'kept'
    const sureUntil = integer(item, 'sureUntil')
    if (now >= sureUntil + integer(item, 'keptMs')) return 'removed'
    return now >= sureUntil && string(item, 'phase') === 'completed' ? 'entombed' : 'kept'
  } catch {
    return 'kept'
  }
}

function keyText(item: Item): string {
  return item[keyAttribute]?.S ?? ''
}

/** A page of records for people. */
export function listPage(table: Table, query: ListQuery, time: ServerTime): Promise<ListPage> {
  return newestFirst(
    query,
    async () => time.earliest,
    () => records(table, time),
  )
}

async function* records(table: Table, time: ServerTime): AsyncGenerator<readonly IdempotencyRecord[]> {
  let from: Item | undefined
  do {
    const page = await scan(table, { ExclusiveStartKey: from })
    yield page.items.map((item) => recordOf(item, time.earliest))
    from = page.next
  } while (from !== undefined)
}

async function scan(
  { client, name }: Table,
  asked: Omit<Parameters<Table['client']['scan']>[0], 'TableName' | 'ConsistentRead'>,
): Promise<{ readonly items: readonly Item[]; readonly next: Item | undefined }> {
  try {
    const page = await client.scan({ TableName: name, ConsistentRead: true, ...asked }, bounded())
    return { items: page.Items ?? [], next: page.LastEvaluatedKey }
  } catch (error) {
    throw asStoreError(error)
  }
}
