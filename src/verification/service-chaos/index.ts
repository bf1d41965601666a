/**
 * Load and faults on any HTTP service that takes idempotency keys, through our own proxy. What clients saw and what
 * the ledger shows in the end is a history, which the checker judges.
 *
 *   rounds   clients ask, each with a few tries, while one fault is caused
 *   quiet    no faults; every key is asked for until it has an answer
 *   ledger   the effects of each key are read
 */
import { randomUUID } from 'node:crypto'
import { type FaultProxy, startFaultProxy } from '../fault-proxy.ts'
import type { History } from '../history.ts'
import { type SeededRandom, seededRandom } from '../random.ts'
import { meaningOf } from './answers.ts'
import { type Client, createClient, type GiveUp } from './client.ts'
import { calm, type Fault, type FaultKind, faultKinds } from './faults.ts'
import { historyOf } from './judged-history.ts'
import { type Call, type ChaosKey, RunLog } from './log.ts'
import { type ServiceChaosOptions, type Settings, settingsOf } from './settings.ts'
import { inLanes, pauseFor, within } from './waiting.ts'

export type { ServiceChaosOptions, ServiceChaosProgress } from './settings.ts'

const triesMax = 5
const firstPauseMs = 25
const probePauseMs = 250
const ledgerTriesMax = 3
/** One of so many requests is for a key of an earlier round. */
const earlierKeyEach = 6
/** Other requests are for one of so many new keys: clients meet while they are worked on. */
const latestKeys = 2
/** The last one shows how long a request takes: the first opens connections. */
const plainAsks = 2

/**
 * Puts load and faults on a service and returns what was seen.
 *
 * @throws InvalidOptionError; an error where the service does not answer a plain request with success, where the
 * ledger cannot be read, or where `restart` or `pause` fails; the reason of `signal`
 * @example
 * const history = await runServiceChaos({
 *   url: 'http://127.0.0.1:4000/charges',
 *   seed: 7,
 *   effects: (key) => chargesOf(key),
 * })
 * const { violations } = check(history)
 */
export async function runServiceChaos(options: ServiceChaosOptions): Promise<History> {
  const settings = settingsOf(options)
  settings.signal.throwIfAborted()
  const { url, clientFaultsOnly } = settings
  const host = url.hostname.replaceAll(/[[\]]/g, '')
  const port = Number(url.port === '' ? 80 : url.port)
  const proxy = clientFaultsOnly ? undefined : await startFaultProxy({ target: { host, port } })
  const client = createClient(settings, proxy?.port)
  try {
    return await new Run(settings, client, proxy).history()
  } finally {
    client.close()
    await proxy?.close()
  }
}

/** What a client wants in a round. */
interface Ask {
  readonly key: ChaosKey
  readonly draw: number
  readonly process: string
  /** Nobody has asked for the key before. */
  readonly isFirst: boolean
}

class Run {
  readonly #settings: Settings
  readonly #client: Client
  readonly #proxy: FaultProxy | undefined
  readonly #random: SeededRandom
  readonly #log = new RunLog()
  #plainMs = 0

  constructor(settings: Settings, client: Client, proxy: FaultProxy | undefined) {
    this.#settings = settings
    this.#client = client
    this.#proxy = proxy
    this.#random = seededRandom(settings.seed)
  }

  async history(): Promise<History> {
    const { rounds, onProgress } = this.#settings
    await this.#askPlainly()
    const kinds = faultKinds(this.#settings, this.#proxy)
    let left: (readonly [string, FaultKind])[] = []
    for (let round = 1; round <= rounds; round++) {
      // Each kind once, in an order of its own, before one comes again.
      if (left.length === 0) left = this.#shuffled([...kinds])
      await this.#round(round, ...(left.pop() as [string, FaultKind]))
      onProgress({ round, rounds, calls: this.#log.calls.length, faults: this.#log.faultCounts() })
    }
    this.#log.quiet()
    await inLanes(this.#log.keys, this.#settings.concurrency, (key) => this.#probe(key))
    return historyOf(this.#log, this.#settings, await this.#readLedger())
  }

  /** A service that refuses what it gets alone would only be seen to refuse it. */
  async #askPlainly(): Promise<void> {
    for (let asks = 1; asks <= plainAsks; asks++) {
      const key = this.#newKey(`plain-${asks}`)
      const { seen, invokedAt, endedAt } = await this.#ask(
        { key, draw: 0, process: 'plain', isFirst: true },
        {},
      )
      if (seen.kind === 'lost') throw new Error(`A plain request to the service had no answer: ${seen.code}`)
      if (seen.status < 200 || seen.status >= 400)
        throw new Error(`A plain request to the service was answered ${seen.status}`)
      await this.#effectsOf(key)
      this.#plainMs = endedAt - invokedAt
    }
  }

  async #round(round: number, name: string, start: FaultKind): Promise<void> {
    const settings = this.#settings
    const earlier = [...this.#log.keys]
    const keys = Array.from({ length: settings.keys }, (_, at) => this.#newKey(`${round}-${at + 1}`))
    const asks = this.#plan(keys, earlier)
    const [key] = keys as [ChaosKey]
    try {
      const fault = start({ settings, random: this.#random, key, plainMs: this.#plainMs })
      this.#log.fault(name, fault.target)
      await this.#load(asks, fault)
    } finally {
      calm(this.#proxy)
    }
  }

  async #load(asks: readonly Ask[], fault: Fault): Promise<void> {
    const { copies = 1 } = fault
    const lanes = Math.max(1, Math.floor(this.#settings.concurrency / copies))
    const loaded = inLanes(asks, lanes, async (ask) => {
      let isFirst = ask.isFirst
      const onSend = (): void => {
        fault.onSend?.(isFirst)
        isFirst = false
      }
      const giveUp = (tries: number): GiveUp | undefined =>
        tries === 1 || fault.givesUpRetries === true ? fault.giveUp?.(ask.draw) : undefined
      const together = Array.from({ length: copies }, () => this.#ask(ask, { onSend, giveUp }))
      const [call] = await settled(together)
      if (fault.sendsOther === true && call !== undefined && isFinal(call)) {
        await settled([this.#ask(ask, { onSend, isOther: true }), this.#ask(ask, { onSend })])
      }
    })
    await settled([loaded, loaded.catch(() => {}).then(() => fault.over?.())])
  }

  /** As a client does: the same key with the same octets again, until there is an answer or enough was tried. */
  async #ask({ key, process }: Ask, how: AskingHow): Promise<Call> {
    const { signal } = this.#settings
    for (let tries = 1; ; tries++) {
      signal.throwIfAborted()
      how.onSend?.()
      const giveUp = how.giveUp?.(tries)
      const call = await this.#log.send(this.#client, process, key, { isOther: how.isOther ?? false, giveUp })
      const meaning = meaningOf(call.seen, call.isOther)
      if (meaning.kind === 'final' || !meaning.again || tries === triesMax) return call
      await pauseFor(firstPauseMs * 2 ** (tries - 1), signal)
    }
  }

  async #probe(key: ChaosKey): Promise<void> {
    const { signal, recoveryMs } = this.#settings
    const until = performance.now() + recoveryMs
    for (;;) {
      signal.throwIfAborted()
      const call = await this.#log.send(this.#client, 'probe', key)
      const meaning = meaningOf(call.seen, false)
      if (meaning.kind === 'final' || !meaning.again || performance.now() >= until) return
      await pauseFor(Math.min(probePauseMs, recoveryMs), signal)
    }
  }

  async #readLedger(): Promise<Map<string, readonly string[]>> {
    const ledger = new Map<string, readonly string[]>()
    await inLanes(this.#log.keys, this.#settings.concurrency, async (key) => {
      ledger.set(key.key, await this.#effectsOf(key))
    })
    return ledger
  }

  async #effectsOf({ key }: ChaosKey): Promise<readonly string[]> {
    const rows: unknown = await this.#askLedger(key)
    if (Array.isArray(rows) && rows.every((row) => typeof row === 'string')) return rows
    throw new TypeError('effects must resolve to an array of strings')
  }

  /** A long run shall not be lost with one connection. */
  async #askLedger(key: string): Promise<unknown> {
    const { effects, timeoutMs, signal } = this.#settings
    for (let tries = 1; ; tries++) {
      signal.throwIfAborted()
      try {
        return await within(effects(key), timeoutMs, 'effects', signal)
      } catch (error) {
        if (tries === ledgerTriesMax) throw error
      }
      await pauseFor(probePauseMs, signal)
    }
  }

  /** New keys come in all along a round; between them those that are known, also from earlier rounds. */
  #plan(keys: readonly ChaosKey[], earlier: readonly ChaosKey[]): Ask[] {
    const { callsPerRound, concurrency } = this.#settings
    const asksOfKey = Math.max(1, Math.floor(callsPerRound / keys.length))
    const known: ChaosKey[] = []
    const asks: Ask[] = []
    const ask = (key: ChaosKey, isFirst: boolean): void => {
      const process = `client-${(asks.length % concurrency) + 1}`
      asks.push({ key, isFirst, process, draw: this.#random() })
    }
    const askAgain = (): void => {
      const isEarlier = earlier.length > 0 && this.#random() * earlierKeyEach < 1
      ask(this.#drawn(isEarlier ? earlier : known.slice(-latestKeys)), false)
    }
    for (const key of keys) {
      known.push(key)
      ask(key, true)
      for (let more = 1; more < asksOfKey; more++) askAgain()
    }
    while (asks.length < callsPerRound) askAgain()
    return asks
  }

  #drawn<Item>(items: readonly Item[]): Item {
    return items[Math.floor(this.#random() * items.length)] as Item
  }

  /** A UUID, as services demand it most often. */
  #newKey(name: string): ChaosKey {
    const key = { key: randomUUID(), request: `request-${name}` }
    this.#log.keys.push(key)
    return key
  }

  #shuffled<Item>(items: Item[]): Item[] {
    for (let at = items.length - 1; at > 0; at--) {
      const other = Math.floor(this.#random() * (at + 1))
      ;[items[at], items[other]] = [items[other] as Item, items[at] as Item]
    }
    return items
  }
}

interface AskingHow {
  readonly isOther?: boolean
  onSend?(): void
  giveUp?(tries: number): GiveUp | undefined
}

function isFinal({ seen, isOther }: Call): boolean {
  return meaningOf(seen, isOther).kind === 'final'
}

/** As `Promise.all`; when it rejects, nothing is under way any more. */
async function settled<Value>(work: readonly Promise<Value>[]): Promise<Value[]> {
  await Promise.allSettled(work)
  return await Promise.all(work)
}
