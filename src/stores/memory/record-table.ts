/**
 * The records of a memory store. Every record is in `#byId` (in order of creation) and in `#due`; those that
 * may be evicted (completed, released, tombstone) are also in a chain, in the order in which they were settled.
 * Every change is O(log n) at worst; only `newestFirst` walks all records.
 */
import type { IdempotencyRecord, RecordId } from '../../core/record.ts'
import { removableFrom } from '../../core/record.ts'
import { type Due, DueHeap } from './due-heap.ts'

interface Entry extends Due {
  record: IdempotencyRecord
  /** One more for every record created. */
  readonly serial: number
  older: Entry | undefined
  newer: Entry | undefined
  evictable: boolean
}

export interface Listed {
  readonly record: IdempotencyRecord
  readonly serial: number
}

export class RecordTable {
  readonly #byId = new Map<RecordId, Entry>()
  readonly #due = new DueHeap<Entry>()
  #oldest: Entry | undefined
  #newest: Entry | undefined
  #serial = 0

  get size(): number {
    return this.#byId.size
  }

  get(id: RecordId): IdempotencyRecord | undefined {
    return this.#byId.get(id)?.record
  }

  insert(record: IdempotencyRecord): void {
    this.#serial += 1
    const entry: Entry = {
      record,
      serial: this.#serial,
      dueAt: dueFrom(record),
      place: -1,
      older: undefined,
      newer: undefined,
      evictable: false,
    }
    this.#byId.set(record.id, entry)
    this.#due.add(entry)
  }

  /** Puts `record` in the place of the one with its id, which must be there. */
  replace(record: IdempotencyRecord): void {
    const entry = this.#byId.get(record.id) as Entry
    entry.record = record
    this.#due.move(entry, dueFrom(record))
    this.#unchain(entry)
    if (isEvictable(record)) this.#chain(entry)
  }

  /** The record that the sweep should look at first, if its time has come. */
  due(now: number): IdempotencyRecord | undefined {
    const first = this.#due.first()
    return first !== undefined && first.dueAt <= now ? first.record : undefined
  }

  /** The record that was settled first of those that may be evicted. */
  oldestSettled(): IdempotencyRecord | undefined {
    return this.#oldest?.record
  }

  remove(id: RecordId): void {
    const entry = this.#byId.get(id)
    if (entry === undefined) return
    this.#byId.delete(id)
    this.#due.remove(entry)
    this.#unchain(entry)
  }

  /** The `limit` newest records before `serial` that pass `filter`, newest first. */
  newestFirst(limit: number, before: number, filter: (record: IdempotencyRecord) => boolean): Listed[] {
    const found: Listed[] = []
    for (const { record, serial } of this.#byId.values()) {
      if (serial >= before) break
      if (!filter(record)) continue
      found.push({ record, serial })
      if (found.length >= 2 * limit) found.splice(0, limit)
    }
    return found.slice(-limit).toReversed()
  }

  clear(): void {
    for (const id of this.#byId.keys()) this.remove(id)
  }

  #chain(entry: Entry): void {
    entry.evictable = true
    entry.older = this.#newest
    if (this.#newest === undefined) this.#oldest = entry
    else this.#newest.newer = entry
    this.#newest = entry
  }

  #unchain(entry: Entry): void {
    if (!entry.evictable) return
    const { older, newer } = entry
    if (older === undefined) this.#oldest = newer
    else older.newer = newer
    if (newer === undefined) this.#newest = older
    else newer.older = older
    entry.evictable = false
    entry.older = undefined
    entry.newer = undefined
  }
}

/** When the sweep has something to do: to entomb a completed record, to remove any other. */
function dueFrom(record: IdempotencyRecord): number {
  return record.phase === 'completed' ? record.retainUntil : removableFrom(record)
}

function isEvictable(record: IdempotencyRecord): boolean {
  switch (record.phase) {
    case 'completed':
    case 'released':
    case 'tombstone':
      return true
    case 'running':
    case 'unknown':
      return false
    default:
      return record satisfies never
  }
}
