/** Walks all records: for lists, and for a sweep that was asked for. */
import { StoreError } from '../../core/errors.ts'
import type { IdempotencyRecord, RecordId } from '../../core/record.ts'
import type { ListPage, ListQuery, SweepReply } from '../../core/store.ts'
import { newestFirst } from '../scan/newest-first.ts'
import type { RedisConnection } from './client.ts'
import { recordOf } from './rows.ts'
import { ask, type Said, type VerbRunner } from './verbs.ts'

/** Keys that a server looks at in one step; it stands still for the time of one. */
const keysAtOnce = 250

/** Ids of records, a step of the server at a time; one may come twice. */
async function* idsOf(connection: RedisConnection, prefix: string): AsyncGenerator<readonly RecordId[]> {
  for (const scan of await connection.nodes()) {
    let cursor = '0'
    do {
      const [next, keys] = await scan(cursor, `${prefix}*`, keysAtOnce)
      const ids = keys.map((key) => key.slice(prefix.length)).filter((id) => idForm.test(id))
      if (ids.length > 0) yield [...new Set(ids)] as RecordId[]
      cursor = next
    } while (cursor !== '0')
  }
}

const idForm = /^[\w-]{21}[AQgw]$/

/** @throws InvalidOptionError when limit or cursor is wrong */
export async function listPage(
  connection: RedisConnection,
  runner: VerbRunner,
  query: ListQuery,
): Promise<ListPage> {
  const { prefix, scripts } = runner
  const now = async (): Promise<number> => (await ask(runner, scripts.read, [])).now
  return await newestFirst(query, now, async function* () {
    for await (const ids of idsOf(connection, prefix)) {
      const { said } = await ask(runner, scripts.read, ids)
      yield ids.flatMap((id, at) => readable(id, said[at]))
    }
  })
}

/** Leaves out what is damaged: one such key must not hide all others from the person who looks for it. */
function readable(id: RecordId, said: Said | undefined): IdempotencyRecord[] {
  if (said?.letter !== 'f' || said.more === undefined) return []
  try {
    return [recordOf(id, said.more)]
  } catch (error) {
    if (error instanceof StoreError) return []
    throw error
  }
}

/** Walks until it has handled `limit` records or seen them all. */
export async function sweepAll(
  connection: RedisConnection,
  runner: VerbRunner,
  limit: number,
): Promise<SweepReply> {
  let removed = 0
  let entombed = 0
  for await (const ids of idsOf(connection, runner.prefix)) {
    for (let at = 0; at < ids.length; ) {
      const some = ids.slice(at, at + limit - removed - entombed)
      at += some.length
      for (const { letter } of (await ask(runner, runner.scripts.sweep, some)).said) {
        if (letter === 'd') removed += 1
        if (letter === 't') entombed += 1
      }
      if (removed + entombed >= limit) return { removed, entombed, more: true }
    }
  }
  return { removed, entombed, more: false }
}
