/** The log of the orders since the last reset, and who follows it. The page shows what is in here and nothing else. */
import type { ServerResponse } from 'node:http'
import {
  type Entry,
  type Happening,
  type Ledgers,
  type Message,
  type Order,
  type Side,
} from '../happenings.ts'

/** Of the log; what is older than the newest orders goes. */
const ordersMax = 50

interface Logged {
  order: Order
  readonly placedAt: number
  readonly entries: Entry[]
}

export class Journal {
  readonly #followers = new Set<ServerResponse>()
  readonly #readLedgers: () => Ledgers
  readonly #orders = new Map<string, Logged>()
  #placed = 0
  #sequence = 0
  #ledgers: Ledgers = { without: [], with: [] }

  constructor(readLedgers: () => Ledgers) {
    this.#readLedgers = readLedgers
  }

  place(order: Omit<Order, 'id' | 'number' | 'isOver'>): Order {
    this.#placed += 1
    const placed: Order = { ...order, id: crypto.randomUUID(), number: this.#placed, isOver: false }
    this.#orders.set(placed.id, { order: placed, placedAt: performance.now(), entries: [] })
    if (this.#orders.size > ordersMax) this.#orders.delete(this.#orders.keys().next().value as string)
    this.#send({ type: 'order', order: placed })
    return placed
  }

  get(id: string): Order | undefined {
    return this.#orders.get(id)?.order
  }

  /** Whether the ledger has a charge for an order. */
  isCharged(id: string, side: Side): boolean {
    return this.#readLedgers()[side].some(({ order }) => order === id)
  }

  /** Writes down what happened; nothing where the order has been reset away. */
  add(id: string, side: Side, attempt: number, happening: Happening): void {
    const logged = this.#orders.get(id)
    if (logged === undefined) return
    this.#sequence += 1
    const atMs = Math.round(performance.now() - logged.placedAt)
    const entry: Entry = { ...happening, sequence: this.#sequence, order: id, side, attempt, atMs }
    logged.entries.push(entry)
    this.#send({ type: 'entry', entry })
    this.refresh()
  }

  /** Reads the ledgers again, and sends them where they have changed. */
  refresh(): void {
    const read = this.#readLedgers()
    const known = (side: Side) => read[side].filter(({ order }) => this.#orders.has(order))
    const ledgers: Ledgers = { without: known('without'), with: known('with') }
    if (
      ledgers.without.length === this.#ledgers.without.length &&
      ledgers.with.length === this.#ledgers.with.length
    ) {
      return
    }
    this.#ledgers = ledgers
    this.#send({ type: 'ledgers', ledgers })
  }

  end(id: string): void {
    const logged = this.#orders.get(id)
    if (logged === undefined || logged.order.isOver) return
    logged.order = { ...logged.order, isOver: true }
    this.refresh()
    this.#send({ type: 'order', order: logged.order })
  }

  reset(): void {
    this.#orders.clear()
    this.#placed = 0
    this.#ledgers = { without: [], with: [] }
    this.#send(this.#all())
  }

  /** Sends all there is, and then what changes, as server-sent events. */
  follow(response: ServerResponse): void {
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' })
    response.write(eventOf(this.#all()))
    this.#followers.add(response)
    response.once('close', () => this.#followers.delete(response))
  }

  close(): void {
    for (const follower of this.#followers) follower.destroy()
  }

  #all(): Message {
    const logged = [...this.#orders.values()]
    return {
      type: 'all',
      orders: logged.map(({ order }) => order),
      entries: logged.flatMap(({ entries }) => entries),
      ledgers: this.#ledgers,
    }
  }

  #send(message: Message): void {
    for (const follower of this.#followers) follower.write(eventOf(message))
  }
}

function eventOf(message: Message): string {
  return `data: ${JSON.stringify(message)}\n\n`
}
