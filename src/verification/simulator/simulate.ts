/**
 * One simulated run: a few processes with a store, a few clients that ask for few keys and try again, and faults
 * until everything is quiet; then every key is asked for once more, as a client does that has time. The history of
 * it goes to the checker.
 */
import { onEvent } from '../../engine/events.ts'
import { check, type CheckReport } from '../checker.ts'
import type { History } from '../history.ts'
import { type SeededRandom, seededRandom } from '../random.ts'
import { SimDatabase } from './database.ts'
import { chanceOf, type Rates, ratesOf, type StoreIncident, storeIncidents } from './faults.ts'
import { type SimMode, type SimModeName, simModes } from './modes.ts'
import { Network } from './network.ts'
import { SimProcess, type Tokens } from './process.ts'
import { SimService } from './service.ts'
import { type Ask, CallError, type ShopSettings, SimShop } from './shop.ts'
import { OptimisticSimStore } from './optimistic-store.ts'
import { SimStore } from './store.ts'
import { type Decisions, Tape } from './tape.ts'
import { type SimTier, tierTools } from './tier.ts'
import { World } from './world.ts'

export interface SimulateOptions {
  readonly mode: SimModeName
  /** Determines the run, together with the version of the code. */
  readonly seed: number
  /**
   * Decides instead of the seed, which then only draws jitter: a list, in which what is missing is 0, or a function
   * of the number and the name of a decision.
   */
  readonly decisions?: readonly number[] | ((index: number, name: string) => number)
  /** Keeps what happened as lines for people, and the names of decisions. Default `false`. */
  readonly story?: boolean
  /**
   * Puts a store of yours in front of the simulated one. Called once for the run, so that what its processes share is
   * made there; what it returns is called for each process. Default: nothing is in front.
   */
  readonly tier?: () => SimTier
}

export interface SimulatedRun {
  readonly history: History
  readonly report: CheckReport
  /** Equal for equal runs. */
  readonly traceHash: string
  readonly decisions: readonly number[]
  /** What each decision was about; only with `story`. */
  readonly decisionNames: readonly string[]
  readonly story: readonly string[]
  readonly events: number
  /** Virtual milliseconds. */
  readonly timeMs: number
  readonly calls: number
}

const leaseMs = 1_000
const longRetentionMs = 3_600_000
const shortRetentionMs = 6_000
const tombstonesMs = [0, 3_000]
const waitsMs = [0, 500, 2_000]
/** What a probe may take beyond the lease: budgets of the engine, locks of transactions that nobody ends. */
const recoveryMs = leaseMs + 12_000

/** Faults end then, and every process that is gone comes back. */
const quietAtMs = 5_000
const startsAtMs = [0, 3, 40, 300, 900, 1_100, 2_500]
const restartsAfterMs = [50, 400, 2_000]
const incidentsAtMs = [100, 600, 1_500, 3_000]
/** One client tries again so often, or asks again after its answer. */
const asksMax = 3
const asksAgainAfterMs = [60, 5, 400, 1_300, 3_000]
const clientsMax = 4
const processesMax = 3
const probePauseMs = 400
const probesMax = 60

const incidentChances = chanceOf(0.35, storeIncidents.length)
const requestChances = chanceOf(0.12, 2)

/**
 * Runs one seed of a mode and checks it. One run at a time in a process.
 *
 * @example
 * const { report } = await simulate({ mode: 'transaction', seed: 7 })
 */
export async function simulate(options: SimulateOptions): Promise<SimulatedRun> {
  const { mode: modeName, seed, story = false } = options
  const run = new Run(
    simModes[modeName],
    seed,
    new Tape(decisionsOf(options), story),
    story,
    options.tier?.(),
  )
  const { world, settings } = run
  // Events are of the whole process, so that one run goes at a time.
  const unsubscribe = onEvent('unknown-commit', ({ applied }) =>
    world.record({ type: 'unknown-commit', applied }),
  )
  const leftOver = await run.go().finally(unsubscribe)
  world.record({ type: 'end', leftOver, exceeded: run.exceeded })
  const history: History = {
    header: {
      seed,
      store: storeName(settings.mode),
      mode: modeName,
      promise: settings.mode.promise,
      leaseMs,
      retentionMs: settings.retentionMs,
      tombstoneMs: settings.tombstoneMs,
      recoveryMs,
    },
    events: world.history,
  }
  return {
    history,
    report: check(history),
    traceHash: world.traceHash,
    decisions: world.tape.made,
    decisionNames: world.tape.names,
    story: world.story ?? [],
    events: world.events,
    timeMs: world.time,
    calls: run.calls,
  }
}

function decisionsOf({ seed, decisions }: SimulateOptions): Decisions {
  if (decisions === undefined) return { seed }
  return { choose: typeof decisions === 'function' ? decisions : (index) => decisions[index] ?? 0 }
}

function storeName({ store, forgets }: SimMode): string {
  return ['simulated', ...(store === 'locks' ? [] : [store]), ...(forgets ? ['forgets'] : [])].join(', ')
}

class Run {
  readonly world: World
  readonly settings: ShopSettings
  calls = 0
  readonly #tape: Tape
  readonly #rates: Rates
  readonly #random: SeededRandom
  readonly #tokens: Tokens = { made: 0 }
  readonly #database: SimDatabase
  readonly #network: Network
  readonly #service: SimService
  readonly #tier: SimTier | undefined
  readonly #nodes: Node[] = []
  readonly #asked = new Map<string, Ask[]>()
  readonly #unanswered = new Set<number>()
  /** Calls whose handler ran more than once. */
  readonly #reruns: string[] = []
  #clients = 0
  #isClosing = false

  constructor(mode: SimMode, seed: number, tape: Tape, story: boolean, tier: SimTier | undefined) {
    this.#tier = tier
    this.world = new World(tape, story)
    this.#tape = tape
    this.#rates = ratesOf(seed)
    this.#random = seededRandom(seed ^ 0x717e)
    this.#database = new SimDatabase(this.world)
    this.#network = new Network(this.world, this.#rates)
    this.#service = new SimService(this.world)
    const short = tape.weighted('retention', shortRetentionChances) === 1
    this.settings = {
      mode,
      leaseMs,
      retentionMs: short ? shortRetentionMs : longRetentionMs,
      tombstoneMs: short ? (tombstonesMs[tape.pick('tombstone', tombstonesMs.length)] as number) : 0,
      waitMs: waitsMs[tape.pick('wait', waitsMs.length)] as number,
      sweeps: short && mode.store !== 'evicts',
    }
  }

  /** Bounds that were passed. */
  get exceeded(): readonly string[] {
    return [...(this.world.isAstray ? ['the run did not come to an end'] : []), ...this.#reruns]
  }

  /** Runs to the end; what is left over then. */
  async go(): Promise<string[]> {
    const { world } = this
    const processes = 1 + this.#tape.pick('processes', processesMax)
    for (let count = 0; count < processes; count++) this.#startNode(`p${count + 1}`)
    const incident = storeIncidents[this.#tape.weighted('incident', incidentChances)]
    if (incident !== undefined && incident !== 'nothing') this.#planIncident(incident)
    const clients = 1 + this.#tape.pick('clients', clientsMax)
    this.#clients = clients
    for (let count = 0; count < clients; count++) this.#startClient()
    world.later(quietAtMs, 'the faults are over', () => this.#beQuiet())
    await world.run(() => world.quiet && this.#clients === 0)
    if (!world.quiet) this.#beQuiet()
    await this.#probeAll()
    return await this.#close()
  }

  #startNode(name: string): void {
    const { world } = this
    const process = new SimProcess(world, name, this.#rates, this.#random, this.#tokens)
    const store = this.#storeOf(process)
    const front = this.#tier?.(store, tierTools(world, this.#network, process)) ?? store
    const shop = new SimShop(
      world,
      store,
      front,
      this.#network,
      this.#service,
      process,
      this.settings,
      (call) => this.#reruns.push(`the handler of call ${call} ran again within the call`),
    )
    const node: Node = { process, store, shop, pending: new Set() }
    this.#nodes.push(node)
    process.onCrash = () => {
      store.breakAll()
      this.#nodes.splice(this.#nodes.indexOf(node), 1)
      for (const gone of [...node.pending]) gone()
      const afterMs = restartsAfterMs[this.#tape.pick('restarts', restartsAfterMs.length)] as number
      world.later(afterMs, `${name}' starts`, () => {
        if (!this.#isClosing) this.#startNode(`${name}'`)
      })
    }
  }

  #storeOf(process: SimProcess): SimStore {
    const { settings, world } = this
    switch (settings.mode.store) {
      case 'locks':
        return new SimStore(world, this.#database, this.#network, process)
      case 'optimistic':
        return new OptimisticSimStore(world, this.#database, this.#network, process)
      case 'evicts':
        return new SimStore(world, this.#database, this.#network, process, this.#rates.eviction)
      default:
        return settings.mode.store satisfies never
    }
  }

  #planIncident(incident: Exclude<StoreIncident, 'nothing'>): void {
    const { world } = this
    const database = this.#database
    const atMs = incidentsAtMs[this.#tape.pick('incident at', incidentsAtMs.length)] as number
    if (incident === 'forgets' && !this.settings.mode.forgets) return
    world.later(atMs, `the store: ${incident}`, () => {
      world.record({ type: 'fault', fault: `store ${incident}`, target: 'store' })
      switch (incident) {
        case 'away 300 ms':
        case 'away 2500 ms': {
          database.away = true
          const backAfterMs = incident === 'away 300 ms' ? 300 : 2_500
          world.later(backAfterMs, 'the store is back', () => (database.away = false))
          break
        }
        case 'restarts':
          database.restart()
          break
        case 'clock jumps ahead':
          database.jumpClock(1_700)
          // The server takes what it expires by its wall clock for past.
          if (this.settings.mode.store === 'evicts') database.evict()
          break
        case 'clock jumps back':
          database.jumpClock(-1_700)
          break
        case 'forgets':
          database.forget(250)
          break
        default:
          incident satisfies never
      }
    })
  }

  #startClient(): void {
    const tape = this.#tape
    const startsMs = startsAtMs[tape.pick('client starts', startsAtMs.length)] as number
    const principal = tape.pick('principal', 3) === 2 ? 'bob' : 'alice'
    const key = tape.pick('key', 3) === 2 ? 'key-two' : 'key-one'
    const request = tape.weighted('request', requestChances) === 1 ? 'other' : 'same'
    void this.#beClient(startsMs, { principal, key, request })
  }

  /**
   * Asks until there is an answer, or enough was tried; sometimes asks again long after. As a consumer of messages
   * does, it acknowledges what it has an answer for.
   */
  async #beClient(startsMs: number, ask: Omit<Ask, 'call'>): Promise<void> {
    await this.#pause(startsMs, 'client')
    for (let asks = 0; asks < asksMax; asks++) {
      const ended = await this.#ask(ask)
      if (ended === 'ok') this.#acknowledge(ask)
      const again = ended === 'ok' ? this.#tape.pick('asks again', 3) === 1 : ended !== 'refused'
      if (!again || this.world.quiet) break
      await this.#pause(
        asksAgainAfterMs[this.#tape.pick('pause', asksAgainAfterMs.length)] as number,
        'client tries again',
      )
    }
    this.#clients--
  }

  #acknowledge({ principal, key }: Omit<Ask, 'call'>): void {
    this.world.record({ type: 'ack', principal, key })
  }

  async #ask(given: Omit<Ask, 'call'>): Promise<'ok' | 'open' | 'unknown' | 'refused'> {
    const { world } = this
    const node = await this.#anyNode()
    const ask: Ask = { ...given, call: ++this.calls }
    const { call, principal, key, request } = ask
    const ofKey = this.#asked.get(`${principal} ${key}`) ?? []
    this.#asked.set(`${principal} ${key}`, [...ofKey, ask])
    world.record({ type: 'invoke', call, process: node.process.name, principal, key, request })
    world.tell(() => `call ${call}: ${principal} asks ${node.process.name} for ${key}, request ${request}`)
    const gone = Promise.withResolvers<never>()
    const isGone = (): void => gone.reject(new CallError('gone', false))
    node.pending.add(isGone)
    this.#unanswered.add(call)
    try {
      const { value, replayed } = await Promise.race([node.shop.ask(ask), gone.promise])
      world.record({ type: 'ok', call, value, replayed })
      world.tell(() => `call ${call}: ${replayed ? 'replayed' : 'executed'} ${value}`)
      return 'ok'
    } catch (error) {
      if (!(error instanceof CallError)) throw error
      const { code, isFail } = error
      world.record({ type: isFail ? 'fail' : 'info', call, code })
      world.tell(() => `call ${call}: ${isFail ? 'failed' : 'nobody knows'}, ${code}`)
      if (code === 'outcome-unknown') return 'unknown'
      return code === 'key-reused' || code === 'key-expired' ? 'refused' : 'open'
    } finally {
      node.pending.delete(isGone)
      this.#unanswered.delete(call)
    }
  }

  async #anyNode(): Promise<Node> {
    for (;;) {
      const node = this.#nodes[this.#tape.pick('process', this.#nodes.length)]
      if (node !== undefined) return node
      await this.#pause(100, 'nobody is there')
    }
  }

  #pause(ms: number, name: string): Promise<void> {
    return new Promise((resolve) => void this.world.later(ms, name, resolve))
  }

  #beQuiet(): void {
    const { world } = this
    if (world.quiet) return
    world.quiet = true
    this.#database.away = false
    for (const { process } of this.#nodes) process.pausedUntil = 0
    world.record({ type: 'quiet' })
    world.tell(() => 'all is quiet')
  }

  async #probeAll(): Promise<void> {
    const probing = Promise.all(Array.from(this.#asked.values(), (asks) => this.#probe(asks)))
    let over = false
    void probing.then(() => (over = true))
    await this.world.run(() => over)
  }

  /** A key may be bound to the one request or to the other. */
  async #probe(asks: readonly Ask[]): Promise<void> {
    const requests = [...new Map(asks.map((ask) => [ask.request, ask])).values()]
    const { promise } = this.settings.mode
    let held = 0
    for (let probes = 0; probes < probesMax; probes++) {
      const ended = await this.#ask(requests[probes % requests.length] as Ask)
      if (ended === 'unknown' && promise === 'held') held += 1
      if (ended === 'ok' || held > requests.length) return
      await this.#pause(probePauseMs, 'probe')
    }
  }

  async #close(): Promise<string[]> {
    const { world } = this
    this.#isClosing = true
    const nodes = [...this.#nodes]
    let over = false
    const closing = Promise.all(nodes.map(({ shop }) => shop.close()))
    void closing.then(() => (over = true))
    await world.run(() => over)
    // What is still on its way, and servers that notice that a client is gone.
    await world.run(() => false)
    const { openTransactions } = this.#database
    const unanswered = Array.from(this.#unanswered, (call) => `call ${call} has no end`)
    const open = openTransactions === 0 ? [] : [`${openTransactions} open transactions`]
    return [...unanswered, ...open, ...(over ? [] : ['close does not end'])]
  }
}

interface Node {
  readonly process: SimProcess
  readonly store: SimStore
  readonly shop: SimShop
  /** Called for the calls of a process that is gone. */
  readonly pending: Set<() => void>
}

const shortRetentionChances = chanceOf(0.15, 2)
