/**
 * A queue in the order in which things were added, each with the time when it is due; most are taken out before.
 *
 * Its links are cut when something leaves. A `Map` would do the same work, but the tables that it leaves behind keep
 * what was in them, which the collector then copies instead of dropping.
 */

/** What was added, with its place in the queue. */
export interface Queued<Item> {
  readonly item: Item
  readonly due: number
}

interface Link<Item> extends Queued<Item> {
  due: number
  previous: Link<Item> | undefined
  next: Link<Item> | undefined
  isQueued: boolean
}

export class DueQueue<Item> {
  #first: Link<Item> | undefined
  #last: Link<Item> | undefined

  get first(): Queued<Item> | undefined {
    return this.#first
  }

  /** @param due not before that of anything in the queue */
  add(item: Item, due: number): Queued<Item> {
    const link: Link<Item> = { item, due, previous: undefined, next: undefined, isQueued: false }
    this.#append(link)
    return link
  }

  has(queued: Queued<Item>): boolean {
    return (queued as Link<Item>).isQueued
  }

  /** Whether it was there. */
  remove(queued: Queued<Item>): boolean {
    const link = queued as Link<Item>
    if (!link.isQueued) return false
    const { previous, next } = link
    if (previous === undefined) this.#first = next
    else previous.next = next
    if (next === undefined) this.#last = previous
    else next.previous = previous
    link.previous = undefined
    link.next = undefined
    link.isQueued = false
    return true
  }

  /** Moves what is in the queue to its end. */
  postpone(queued: Queued<Item>, due: number): void {
    const link = queued as Link<Item>
    this.remove(link)
    link.due = due
    this.#append(link)
  }

  clear(): void {
    while (this.#first !== undefined) this.remove(this.#first)
  }

  #append(link: Link<Item>): void {
    link.previous = this.#last
    if (this.#last === undefined) this.#first = link
    else this.#last.next = link
    this.#last = link
    link.isQueued = true
  }
}
