/**
 * What is done to a service in one round. The load tells a fault what it sends: a fault comes while a key is worked
 * on for the first time, since afterwards it meets replays only.
 */
import type { FaultProxy } from '../fault-proxy.ts'
import type { SeededRandom } from '../random.ts'
import type { GiveUp } from './client.ts'
import type { ChaosKey } from './log.ts'
import type { Settings } from './settings.ts'
import { pauseFor, within } from './waiting.ts'

export interface Fault {
  /** What it is done to, for the history. */
  readonly target: string
  /** How often each request is sent at once. Default 1. */
  readonly copies?: number
  /** When the client goes away; `draw` is a fraction that the seed determines. */
  giveUp?(draw: number): GiveUp | undefined
  /** Whether a client may go away from each of its tries, not only from the first. Default `false`. */
  readonly givesUpRetries?: boolean
  /** Keys that have an answer are sent with another request. */
  readonly sendsOther?: boolean
  /** Called before each request. `isFirst`: of a new key. */
  onSend?(isFirst: boolean): void
  /** Resolves when the service is as before; what the load does not wait for. */
  over?(): Promise<void>
}

/** What a round gives to its fault. */
export interface RoundGiven {
  readonly settings: Settings
  readonly random: SeededRandom
  /** One of the keys of this round. */
  readonly key: ChaosKey
  /** How long a request takes when all is well. */
  readonly plainMs: number
}

/** Starts a fault. */
export type FaultKind<Given extends RoundGiven = RoundGiven> = (given: Given) => Fault

/** Longer than a client waits in that round. */
const stallMs = 400
const stalledClientMs = 150
const delayMsMax = 150
const slicesMs = 1_000
const cutsOfKey = 3
const copies = 3
/** Requests that find nobody who listens. */
const refusedSends = 8
const shortPausesMs = [300, 1_500]

/** On the client's side: nothing stands between it and the service. */
const clientKinds: Readonly<Record<string, FaultKind>> = {
  'given up when sent': ({ plainMs }) => ({
    target: 'clients',
    // What was sent at this moment may still lie in the client.
    giveUp: (draw) => ({ after: 'sent', ms: 1 + draw * plainMs }),
  }),
  'given up at the head of the answer': () => ({
    target: 'clients',
    giveUp: () => ({ after: 'headers', ms: 0 }),
  }),
  'sent several times at once': () => ({ target: 'clients', copies }),
}

const otherRequest: FaultKind = () => ({ target: 'clients', sendsOther: true })

const proxyKinds: Readonly<Record<string, FaultKind<RoundGiven & { readonly proxy: FaultProxy }>>> = {
  'request cut': ({ proxy, settings, key }) => {
    proxy.cutOn(keyLine(settings, key), 'before', cutsOfKey)
    return { target: key.key }
  },
  'answer cut': ({ proxy, settings, key }) => {
    proxy.cutOn(keyLine(settings, key), 'after', cutsOfKey)
    return { target: key.key }
  },
  'connections dropped': (given) =>
    inTheMidst(given, 'connections', 'always', async () => void given.proxy.dropAll()),
  'answers delayed': ({ proxy, random }) => {
    const ms = 1 + Math.floor(random() * delayMsMax)
    proxy.delayMs = ms
    return {
      target: 'connections',
      giveUp: (draw) => (draw < 0.5 ? { after: 'sent', ms: ms / 2 } : undefined),
    }
  },
  'stalled until clients give up': (given) => ({
    ...inTheMidst(given, 'connections', 'once', async () => {
      const release = given.proxy.stall()
      await pauseFor(stallMs, given.settings.signal).finally(release)
    }),
    giveUp: () => ({ after: 'start', ms: stalledClientMs }),
  }),
  'connections refused': ({ proxy }) => {
    proxy.refuses = true
    proxy.dropAll()
    let sent = 0
    return {
      target: 'connections',
      onSend(): void {
        if (sent++ === refusedSends) proxy.refuses = false
      },
    }
  },
  'sent in slices': ({ proxy }) => {
    const until = performance.now() + slicesMs
    proxy.slices = true
    return {
      target: 'connections',
      // A long answer takes minutes, octet by octet.
      giveUp: () => (proxy.slices ? { after: 'start', ms: slicesMs } : undefined),
      givesUpRetries: true,
      onSend(): void {
        if (performance.now() > until) proxy.slices = false
      },
    }
  },
}

function keyLine({ keyHeader, quotedKeys }: Settings, { key }: ChaosKey): string {
  return quotedKeys ? `${keyHeader}: "${key}"` : `${keyHeader}: ${key}`
}

/** Does something while a new key is worked on, `always` or with the first of them; the load goes on meanwhile. */
function inTheMidst(
  { plainMs, settings }: RoundGiven,
  target: string,
  often: 'once' | 'always',
  act: () => Promise<void>,
): Fault {
  const under: Promise<void>[] = []
  return {
    target,
    onSend(isFirst): void {
      if (!isFirst || (often === 'once' && under.length > 0)) return
      const work = pauseFor(plainMs / 2, settings.signal).then(act)
      work.catch(() => {})
      under.push(work)
    },
    over: async () => void (await Promise.all(under)),
  }
}

/** The kinds that a run can have, by name, ready to be started. */
export function faultKinds(
  settings: Settings,
  proxy: FaultProxy | undefined,
): ReadonlyMap<string, FaultKind> {
  const { restart, pause, leaseMs, recoveryMs, signal } = settings
  const kinds = new Map(Object.entries(clientKinds))
  if (settings.body.includes('{request}')) kinds.set('another request', otherRequest)
  if (proxy !== undefined) {
    for (const [name, start] of Object.entries(proxyKinds))
      kinds.set(name, (given) => start({ ...given, proxy }))
  }
  if (restart !== undefined) {
    const act = (): Promise<void> => within(restart(), recoveryMs, 'restart', signal)
    kinds.set('restart', (given) => inTheMidst(given, 'service', 'once', act))
  }
  if (pause !== undefined) {
    const pausesMs = [...shortPausesMs, leaseMs + 1_000]
    kinds.set('pause', (given) => {
      const ms = pausesMs[Math.floor(given.random() * pausesMs.length)] ?? leaseMs
      const act = (): Promise<void> => within(pause(ms), ms + recoveryMs, 'pause', signal)
      return inTheMidst(given, 'service', 'once', act)
    })
  }
  return kinds
}

/** Leaves nothing of a fault in the proxy. */
export function calm(proxy: FaultProxy | undefined): void {
  if (proxy === undefined) return
  proxy.disarm()
  proxy.delayMs = 0
  proxy.slices = false
  proxy.refuses = false
}
