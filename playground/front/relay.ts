/**
 * The way between browser and shops, with its faults: it can lose a reply, refuse a request, and kill or freeze the
 * shop that works on one. A fault hits the first attempt of an order on each side; later ones go through.
 */
import { once } from 'node:events'
import { type IncomingHttpHeaders, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { type CallOutcome, type Fault, type Happening, type Order, type Side, sides } from '../happenings.ts'
import { type ShopMessage, type Trace, traceField } from '../shop/messages.ts'
import type { Journal } from './journal.ts'
import { type Shop, Shops } from './shops.ts'

/** How long the side that has come to its fault waits for the other one. */
const otherSideMsMax = 3_000
/** How long a shop stands still when no page tells how its calls ended. */
const frozenMsMax = 10_000
const runsMax = 50

const forwarded = ['content-type', 'idempotency-key', 'x-customer'] as const
const answered = ['content-type', 'retry-after', 'idempotent-replayed', 'cache-control', 'link'] as const

/** An order while anything can happen to it. */
interface Run {
  readonly order: Order
  readonly attempts: Record<Side, number>
  /** Clicks and attempts that have been sent, by the names that the page gave them. */
  readonly seen: Set<string>
  readonly atFault: Map<Side, Shop>
  /** Resolves once the fault has struck and been written down. */
  readonly struck: PromiseWithResolvers<void>
  outcomes: number
  working: number
}

export class Relay {
  readonly #journal: Journal
  readonly #shops: Shops
  readonly #runs = new Map<string, Run>()
  readonly #done = new Map<string, () => void>()

  constructor(folder: string, journal: Journal) {
    this.#journal = journal
    this.#shops = new Shops(folder, (shop, message) => this.#hear(shop, message))
  }

  async ready(): Promise<void> {
    await this.#shops.ready()
  }

  get pids(): number[] {
    return this.#shops.pids
  }

  place(clicks: 1 | 2, fault: Fault | null): Order {
    const order = this.#journal.place({ customer: 'Ada', cents: 4_900, clicks, fault })
    this.#runs.set(order.id, {
      ...{ order, attempts: { without: 0, with: 0 }, seen: new Set(), atFault: new Map() },
      ...{ struck: Promise.withResolvers(), outcomes: 0, working: 0 },
    })
    // Of pages that were closed before their calls ended.
    if (this.#runs.size > runsMax) this.#runs.delete(this.#runs.keys().next().value as string)
    return order
  }

  /** A call of the page has ended; when all have, a shop that stands still goes on. */
  end(id: string, side: Side, outcome: CallOutcome): void {
    this.#journal.add(id, side, 0, outcome)
    const run = this.#runs.get(id)
    if (run === undefined) return
    run.outcomes += 1
    if (this.#hasOutcomes(run)) for (const shop of run.atFault.values()) shop.thaw()
    this.#endIfOver(run)
  }

  /** Forgets all orders. A shop that waits at a fault, whose other side will not come any more, goes with them. */
  reset(): void {
    for (const { atFault, struck } of this.#runs.values()) {
      if (atFault.size < sides.length) for (const shop of atFault.values()) void shop.kill()
      struck.resolve()
    }
    this.#runs.clear()
    this.#shops.thawAll()
    this.#journal.reset()
  }

  async close(): Promise<void> {
    await this.#shops.close()
  }

  /** Takes an attempt from the browser to a shop, and its answer back. */
  async carry(side: Side, from: IncomingMessage, to: ServerResponse): Promise<void> {
    const run = this.#runs.get(field(from.headers, 'x-order'))
    const attemptName = field(from.headers, 'x-attempt')
    // A browser may send a request once more by itself when its connection breaks: to the page that is one attempt.
    if (run === undefined || run.seen.has(attemptName)) return void to.destroy()
    run.seen.add(attemptName)
    run.working += 1
    try {
      await this.#attempt(run, side, from, to)
    } finally {
      run.working -= 1
      this.#endIfOver(run)
    }
  }

  async #attempt(run: Run, side: Side, from: IncomingMessage, to: ServerResponse): Promise<void> {
    const { order } = run
    const attempt = ++run.attempts[side]
    const fault = attempt === 1 ? order.fault : null
    const trace: Trace = { order: order.id, side, attempt, fault }
    const add: Add = (happening) => this.#journal.add(order.id, side, attempt, happening)
    add({ kind: 'sent', key: keyOf(from.headers), isRetry: isRetry(run, side, from.headers) })
    const body = await buffer(from)
    if (fault === 'refused') {
      add({ kind: 'refused' })
      return void to.destroy()
    }
    let listens = true
    const stopListening = (): void => {
      listens = false
      add({ kind: 'gave-up' })
    }
    to.once('close', stopListening)
    const answer = await this.#ask(trace, from.headers, body)
    to.off('close', stopListening)
    if (answer === undefined) {
      if (listens) add({ kind: 'cut' })
      return void to.destroy()
    }
    if (!listens) return add({ kind: 'unheard' })
    if (fault === 'lost-reply') {
      add({ kind: 'reply-lost' })
      return void to.destroy()
    }
    const { status, headers } = answer
    add({ kind: 'answered', status, replayed: headers['idempotent-replayed'] === 'true' })
    to.writeHead(status, pick(headers, answered)).end(answer.body)
  }

  /** The answer of a shop; `undefined` where it died over it, once that is written down. */
  async #ask(trace: Trace, headers: IncomingHttpHeaders, body: Buffer): Promise<Answer | undefined> {
    const shop = await this.#shops.pick()
    if (shop === undefined) return undefined
    const done = Promise.withResolvers<void>()
    const name = nameOf(trace)
    this.#done.set(name, done.resolve)
    try {
      const answer = await exchange(shop.port, this.#pathOf(trace), body, {
        ...pick(headers, forwarded),
        [traceField]: JSON.stringify(trace),
      })
      // What the shop reports comes on another way than its answer, and is part of the story before it.
      await Promise.race([done.promise, shop.exited])
      return answer
    } catch {
      if (trace.fault === 'crash') await this.#runs.get(trace.order)?.struck.promise
      return undefined
    } finally {
      this.#done.delete(name)
    }
  }

  #pathOf({ order, side }: Trace): string {
    if (side === 'without') return '/plain/charges'
    const isByProvider = this.#runs.get(order)?.order.fault === 'slow-lease'
    return isByProvider ? '/protected/by-provider' : '/protected/charges'
  }

  #hear(shop: Shop, message: ShopMessage): void {
    switch (message.type) {
      case 'ready':
        return
      case 'happened': {
        const { order, side, attempt } = message.trace
        return this.#journal.add(order, side, attempt, message.happening)
      }
      case 'done':
        return this.#done.get(nameOf(message.trace))?.()
      case 'at-fault':
        return this.#arrive(shop, message.trace)
      default:
        return message satisfies never
    }
  }

  /** Both sides share a process, so that it is killed or frozen once both have come to the moment for it. */
  #arrive(shop: Shop, { order, side }: Trace): void {
    const run = this.#runs.get(order)
    if (run === undefined) return void shop.kill()
    run.atFault.set(side, shop)
    if (run.atFault.size === sides.length) return void this.#strike(run)
    const timer = setTimeout(() => void this.#strike(run), otherSideMsMax).unref()
    void run.struck.promise.then(() => clearTimeout(timer))
  }

  async #strike({ order, atFault, struck }: Run): Promise<void> {
    const add = (side: Side, happening: Happening): void => this.#journal.add(order.id, side, 1, happening)
    if (order.fault === 'slow-lease') {
      for (const [side, shop] of atFault) add(side, { kind: 'frozen', pid: shop.pid })
      for (const shop of new Set(atFault.values())) shop.freeze(frozenMsMax)
      return struck.resolve()
    }
    for (const [side, shop] of atFault) add(side, { kind: 'killed', pid: shop.pid })
    await Promise.all(Array.from(new Set(atFault.values()), (shop) => shop.kill()))
    if (atFault.has('with') && !this.#journal.isCharged(order.id, 'with'))
      add('with', { kind: 'rolled-back' })
    struck.resolve()
  }

  #hasOutcomes({ order, outcomes }: Run): boolean {
    return outcomes >= order.clicks * sides.length
  }

  #endIfOver(run: Run): void {
    if (!this.#hasOutcomes(run) || run.working > 0) return
    this.#runs.delete(run.order.id)
    this.#journal.end(run.order.id)
  }
}

type Add = (happening: Happening) => void

interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

function nameOf({ order, side, attempt }: Trace): string {
  return `${order} ${side} ${attempt}`
}

function isRetry({ seen }: Run, side: Side, headers: IncomingHttpHeaders): boolean {
  const click = `${side} click ${field(headers, 'x-click')}`
  const isKnown = seen.has(click)
  seen.add(click)
  return isKnown
}

/** The key of a request, without the quotes of its field. */
function keyOf(headers: IncomingHttpHeaders): string | null {
  const value = field(headers, 'idempotency-key')
  return value === '' ? null : value.replaceAll('"', '')
}

function field(headers: IncomingHttpHeaders, name: string): string {
  const value = headers[name]
  return typeof value === 'string' ? value : ''
}

function pick(headers: IncomingHttpHeaders, names: readonly string[]): Record<string, string> {
  const found = names.map((name) => [name, headers[name]] as const)
  return Object.fromEntries(found.filter((field): field is [string, string] => typeof field[1] === 'string'))
}

/** @throws when the connection ends before the answer does */
async function exchange(
  port: number,
  path: string,
  body: Buffer,
  headers: Record<string, string>,
): Promise<Answer> {
  const length = { 'content-length': body.length }
  const sent = request({ port, path, method: 'POST', agent: false, headers: { ...headers, ...length } })
  sent.end(body)
  const [answer] = (await once(sent, 'response')) as [IncomingMessage]
  return { status: answer.statusCode ?? 502, headers: answer.headers, body: await buffer(answer) }
}
