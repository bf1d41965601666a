/** The verbs: items packed for a script, and its letters read back. */
import { StoreError } from '../../core/errors.ts'
import type { IdempotencyRecord, RecordId } from '../../core/record.ts'
import type {
  Claim,
  ClaimReply,
  FailedItem,
  Renewal,
  RenewalReply,
  Replies,
  Settlement,
  SettlementReply,
  Takeover,
  TakeoverReply,
} from '../../core/store.ts'
import { phaseNumberOf, settledParts } from '../sql/phases.ts'
import { keyError } from './errors.ts'
import {
  checkId,
  claimBytesMax,
  durationBytes,
  formOf,
  recordOf,
  timeOf,
  tokenBytes,
  writeClaim,
  writeDuration,
  writeToken,
} from './rows.ts'
import { marginMs, type Script, type Scripts, type VerbScripts, type Wire } from './scripts.ts'

/** A server stands still while it copies an outcome, and for much longer while it turns one into text. */
export const outcomeBytesMax: Readonly<Record<Wire, number>> = { octets: 16 * 1024 * 1024, hex: 256 * 1024 }

/** Runs a script over keys that lie together. */
export type Call = (
  script: Script,
  keys: readonly string[],
  args: readonly (string | Buffer)[],
) => Promise<readonly Buffer[]>

export interface VerbRunner {
  readonly scripts: Scripts
  readonly prefix: string
  /** Largest outcome that is sent. */
  readonly outcomeBytesMax: number
  readonly call: Call
  /** Keys lie on several nodes: each is sent by itself, in one turn, so that they leave together. */
  readonly singly: boolean
}

/** How an item of a verb travels and what its answer means. */
interface Verb<Item, Reply> {
  id(item: Item): RecordId
  /** Most octets that `write` takes. */
  bytesMax(item: Item): number
  /** The place after what it wrote. @throws StoreError when the item cannot be kept */
  write(octets: Buffer, at: number, item: Item): number
  /** How long its record means something. */
  keptMs(item: Item): number
  reply(said: Said, item: Item): Reply
}

/** A letter of a script's answer, with what belongs to it. */
export interface Said {
  readonly letter: string
  readonly more: Buffer | undefined
}

const claimVerb: Verb<Claim, ClaimReply> = {
  id: ({ id }) => id,
  bytesMax: claimBytesMax,
  write: writeClaim,
  keptMs: ({ leaseMs, retentionMs }) => leaseMs + retentionMs,
  reply: (said, { id }) =>
    said.letter === 'c' ? { kind: 'claimed' } : { kind: 'found', record: recordOf(id, moreOf(said)) },
}

const supersedeVerb: Verb<Takeover, TakeoverReply> = {
  id: ({ claim }) => claim.id,
  bytesMax: ({ claim }) => 1 + tokenBytes + claimBytesMax(claim),
  write(octets, at, { seenToken, seenPhase, claim }) {
    octets[at] = formOf(phaseNumberOf(seenPhase))
    return writeClaim(octets, writeToken(octets, at + 1, seenToken), claim)
  },
  keptMs: ({ claim }) => claimVerb.keptMs(claim),
  reply: (said, { claim: { id } }) =>
    said.letter === 'w'
      ? { kind: 'superseded', fence: moreOf(said).readUInt32BE(0) }
      : { kind: 'refused', record: foundIn(said, id) },
}

const renewVerb: Verb<Renewal, RenewalReply> = {
  id: ({ id }) => id,
  bytesMax: () => tokenBytes + durationBytes,
  write: (octets, at, { token, leaseMs }) => writeDuration(octets, writeToken(octets, at, token), leaseMs),
  // The script knows how long the record is kept after its lease.
  keptMs: () => 0,
  reply: ({ letter }) => (letter === 's' ? { kind: 'renewed' } : { kind: 'lost' }),
}

const settleVerb = (bytesMax: number): Verb<Settlement, SettlementReply> => ({
  id: ({ id }) => id,
  bytesMax(settlement) {
    const outcomeBytes = settlement.to === 'completed' ? settlement.outcome.byteLength : 0
    return 1 + tokenBytes + 2 * durationBytes + Math.min(outcomeBytes, bytesMax)
  },
  write(octets, start, settlement) {
    const { phase, liveMs, keptMs, outcome } = settledParts(settlement)
    octets[start] = formOf(phase)
    let at = writeToken(octets, start + 1, settlement.token)
    at = writeDuration(octets, at, liveMs)
    at = writeDuration(octets, at, keptMs)
    if (outcome === undefined) return at
    if (outcome.byteLength > bytesMax) {
      throw new StoreError('permanent', `An outcome is over ${bytesMax} bytes.`)
    }
    octets.set(outcome, at)
    return at + outcome.byteLength
  },
  keptMs(settlement) {
    const { liveMs, keptMs } = settledParts(settlement)
    return liveMs + keptMs
  },
  reply: (said, { id }) =>
    said.letter === 's' ? { kind: 'settled' } : { kind: 'refused', record: foundIn(said, id) },
})

const readVerb: Verb<RecordId, { readonly kind: 'read'; readonly record: IdempotencyRecord | undefined }> = {
  id: (id) => id,
  bytesMax: () => 0,
  write: (_octets, at) => at,
  keptMs: () => 0,
  reply: (said, id) => ({ kind: 'read', record: foundIn(said, id) }),
}

export function claim(runner: VerbRunner, claims: readonly Claim[]): Promise<Replies<ClaimReply>> {
  return runVerb(runner, runner.scripts.claim, claimVerb, claims)
}

export function supersede(
  runner: VerbRunner,
  takeovers: readonly Takeover[],
): Promise<Replies<TakeoverReply>> {
  return runVerb(runner, runner.scripts.supersede, supersedeVerb, takeovers)
}

export function renew(runner: VerbRunner, renewals: readonly Renewal[]): Promise<Replies<RenewalReply>> {
  return runVerb(runner, runner.scripts.renew, renewVerb, renewals)
}

export function settle(
  runner: VerbRunner,
  settlements: readonly Settlement[],
): Promise<Replies<SettlementReply>> {
  return runVerb(runner, runner.scripts.settle, settleVerb(runner.outcomeBytesMax), settlements)
}

/** A damaged record fails the whole call: a reader must not take it for absent. */
export async function read(
  runner: VerbRunner,
  ids: readonly RecordId[],
): Promise<Replies<IdempotencyRecord | undefined>> {
  const { now, replies } = await runVerb(runner, runner.scripts.read, readVerb, ids)
  const records = replies.map((reply) => {
    if (reply.kind === 'failed') throw reply.error
    return reply.record
  })
  return { now, replies: records }
}

/** What a script says of each id: of scripts that take nothing but keys. */
export async function ask(
  runner: VerbRunner,
  scripts: VerbScripts,
  ids: readonly RecordId[],
): Promise<Answer> {
  return await send(runner, scripts, pack(runner.prefix, readVerb, ids, []))
}

/** The items that could be packed, one after the other, each with its length before it. */
interface Packed {
  readonly octets: Buffer
  readonly keys: string[]
  /** For each key, how long the server keeps it. */
  readonly keptMs: number[]
  /** Where each begins, and where the last one ends. */
  readonly bounds: number[]
  /** Of each among all items. */
  readonly places: number[]
}

const lengthBytes = 4

/** An item that cannot be packed, or whose answer cannot be read, fails by itself. */
async function runVerb<Item, Reply>(
  runner: VerbRunner,
  scripts: VerbScripts,
  verb: Verb<Item, Reply>,
  items: readonly Item[],
): Promise<Replies<Reply | FailedItem>> {
  const replies: (Reply | FailedItem)[] = []
  const packed = pack(runner.prefix, verb, items, replies)
  const { now, said } = await send(runner, scripts, packed)
  for (let at = 0; at < said.length; at++) {
    const place = packed.places[at] as number
    const one = said[at] as Said
    try {
      if (one.letter === 'e') throw keyError(moreOf(one).toString())
      replies[place] = verb.reply(one, items[place] as Item)
    } catch (error) {
      replies[place] = failed(error)
    }
  }
  return { now, replies }
}

/** Puts the failure of what cannot be packed into `replies`. */
function pack<Item>(
  prefix: string,
  verb: Verb<Item, unknown>,
  items: readonly Item[],
  replies: unknown[],
): Packed {
  let bytes = 0
  for (const item of items) bytes += lengthBytes + verb.bytesMax(item)
  const packed: Packed = {
    octets: Buffer.allocUnsafe(bytes),
    keys: [],
    keptMs: [],
    bounds: [0],
    places: [],
  }
  let at = 0
  for (let place = 0; place < items.length; place++) {
    const item = items[place] as Item
    try {
      const end = verb.write(packed.octets, at + lengthBytes, item)
      packed.octets.writeUInt32BE(end - at - lengthBytes, at)
      packed.keys.push(prefix + checkId(verb.id(item)))
      packed.keptMs.push(Math.ceil(verb.keptMs(item)) + marginMs)
      packed.places.push(place)
      packed.bounds.push(end)
      at = end
    } catch (error) {
      replies[place] = failed(error)
    }
  }
  return packed
}

export interface Answer {
  readonly now: number
  readonly said: readonly Said[]
}

async function send({ call, singly }: VerbRunner, scripts: VerbScripts, packed: Packed): Promise<Answer> {
  const { octets, keys, keptMs, bounds } = packed
  if (!singly || keys.length <= 1) {
    const isOne = keys.length === 1
    const items = octets.subarray(isOne ? lengthBytes : 0, bounds.at(-1))
    const script = isOne ? scripts.one : scripts.many
    return readAnswer(await call(script, keys, [items, ...numbersOf(keptMs)]), keys.length)
  }
  const answers = await Promise.all(
    keys.map(async (key, at) => {
      const item = octets.subarray((bounds[at] as number) + lengthBytes, bounds[at + 1])
      return readAnswer(await call(scripts.one, [key], [item, String(keptMs[at])]), 1)
    }),
  )
  return {
    // Nodes have clocks of their own; by the one that is behind, no lease is over that is not.
    now: Math.min(...answers.map(({ now }) => now)),
    said: answers.flatMap(({ said }) => said),
  }
}

/** As they travel: one for all where all are the same, as they mostly are. */
function numbersOf(keptMs: readonly number[]): string[] {
  return keptMs.every((ms) => ms === keptMs[0]) ? keptMs.slice(0, 1).map(String) : keptMs.map(String)
}

const letterOf: readonly string[] = Array.from({ length: 128 }, (_, code) => String.fromCharCode(code))
/** Letters that something follows. */
const followed = 'frwe'

function readAnswer(answer: readonly Buffer[], items: number): Answer {
  const [time, letters] = answer
  const now = timeOf(time)
  if (letters?.length !== items) throw unreadable()
  let at = 2
  const said: Said[] = []
  for (let item = 0; item < items; item++) {
    const letter = letterOf[letters[item] as number] ?? ''
    said.push({ letter, more: followed.includes(letter) ? answer[at++] : undefined })
  }
  return { now, said }
}

function moreOf({ more }: Said): Buffer {
  if (more === undefined) throw unreadable()
  return more
}

function foundIn(said: Said, id: RecordId): IdempotencyRecord | undefined {
  return said.letter === 'a' ? undefined : recordOf(id, moreOf(said))
}

function failed(error: unknown): FailedItem {
  if (!(error instanceof StoreError)) throw error
  return { kind: 'failed', error }
}

function unreadable(): StoreError {
  return new StoreError('unrecognised', 'The server gave no answer that can be read.')
}
