/** A binary heap of records by the time at which the sweep has something to do with them; ties in any order. */

/** What the heap keeps on an entry. `place` is its index, -1 while it is in no heap. */
export interface Due {
  dueAt: number
  place: number
}

export class DueHeap<Entry extends Due> {
  readonly #entries: Entry[] = []

  /** The entry that is due first. */
  first(): Entry | undefined {
    return this.#entries[0]
  }

  add(entry: Entry): void {
    this.#entries.push(entry)
    this.#rise(entry, this.#entries.length - 1)
  }

  /** Puts an entry of this heap to its new time. */
  move(entry: Entry, dueAt: number): void {
    const sooner = dueAt < entry.dueAt
    entry.dueAt = dueAt
    if (sooner) this.#rise(entry, entry.place)
    else this.#sink(entry, entry.place)
  }

  remove(entry: Entry): void {
    const { place } = entry
    const last = this.#entries.pop()
    entry.place = -1
    if (last === undefined || last === entry) return
    if (last.dueAt < entry.dueAt) this.#rise(last, place)
    else this.#sink(last, place)
  }

  #rise(entry: Entry, from: number): void {
    let place = from
    while (place > 0) {
      const above = (place - 1) >> 1
      const parent = this.#entries[above] as Entry
      if (parent.dueAt <= entry.dueAt) break
      this.#put(parent, place)
      place = above
    }
    this.#put(entry, place)
  }

  #sink(entry: Entry, from: number): void {
    const { length } = this.#entries
    let place = from
    for (;;) {
      let below = 2 * place + 1
      if (below >= length) break
      const right = this.#entries[below + 1]
      if (right !== undefined && right.dueAt < (this.#entries[below] as Entry).dueAt) below += 1
      const child = this.#entries[below] as Entry
      if (child.dueAt >= entry.dueAt) break
      this.#put(child, place)
      place = below
    }
    this.#put(entry, place)
  }

  #put(entry: Entry, place: number): void {
    this.#entries[place] = entry
    entry.place = place
  }
}
