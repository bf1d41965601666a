/** What the cases share: ids, claims, records brought into a phase, and single-item verbs. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { Fingerprint, IdempotencyRecord, Phase, RecordId } from '../../core/record.ts'
import type {
  Claim,
  ClaimReply,
  FailedItem,
  IdempotencyStore,
  RecordVerbs,
  RenewalReply,
  Replies,
  Settlement,
  SettlementReply,
  Takeover,
  TakeoverReply,
  TransactionalStore,
} from '../../core/store.ts'

/** A user's own transaction on the database of the store. */
export interface OwnTransaction {
  /** What the store's `join` takes. */
  readonly tx: unknown
  commit(): Promise<void>
  rollBack(): Promise<void>
}

/** Writes beside the records, in the same database. */
export interface BusinessWrites {
  /** Writes one text inside a transaction. */
  write(tx: unknown, text: string): Promise<void>
  /** The committed texts, read outside of any transaction, in any order. */
  written(): Promise<readonly string[]>
  begin(): Promise<OwnTransaction>
}

export interface StoreCase {
  readonly name: string
  /** The case is left out where the store does not join transactions. */
  readonly needs?: 'transactions'
  run(context: Context): Promise<void>
}

/** Long enough to be live while a case runs. */
export const longMs = 600_000

/** States in which a verb can meet a record. `past`: the time it was kept for is over, and it is not swept. */
export const states = [
  'absent',
  'running, lease live',
  'running, lease over',
  'running, past',
  'completed, retained',
  'completed, retention over',
  'completed, past',
  'released, marker live',
  'released, past',
  'unknown, retained',
  'unknown, past',
  'tombstone',
] as const

export type State = (typeof states)[number]

export interface Held {
  readonly id: RecordId
  readonly token: string
}

/** A record that was brought into a state. */
export interface Seen extends Held {
  /** `running` where there is no record. */
  readonly phase: Phase
}

/** A takeover of what was seen. */
export function takeover(
  { token: seenToken, phase: seenPhase }: Pick<Seen, 'token' | 'phase'>,
  claim: Claim,
): Takeover {
  return { seenToken, seenPhase, claim }
}

export interface Context {
  readonly store: IdempotencyStore
  /** The store, where it joins transactions. */
  readonly transactional: TransactionalStore<unknown>
  readonly business: BusinessWrites
  /** Short, and over for sure after `passShort`. */
  readonly shortMs: number
  pass(ms: number): Promise<void>
  passShort(): Promise<void>
  claim(claim: Claim, verbs?: RecordVerbs): Promise<Exclude<ClaimReply, FailedItem>>
  supersede(
    seen: Pick<Seen, 'token' | 'phase'>,
    claim: Claim,
    verbs?: RecordVerbs,
  ): Promise<Exclude<TakeoverReply, FailedItem>>
  settle(settlement: Settlement, verbs?: RecordVerbs): Promise<Exclude<SettlementReply, FailedItem>>
  renew(held: Held, leaseMs: number): Promise<Exclude<RenewalReply, FailedItem>>
  read(id: RecordId): Promise<IdempotencyRecord | undefined>
  /** A record in the given state, with the token it was last held under. */
  bring(state: State): Promise<Seen>
}

export function newId(): RecordId {
  return randomBytes(16).toString('base64url') as RecordId
}

export function newToken(): string {
  return randomBytes(16).toString('base64url')
}

export function newFingerprint(): Fingerprint {
  return `1.${randomBytes(16).toString('base64url')}` as Fingerprint
}

/** A claim of a new id, with a new token, and a live lease. */
export function newClaim(parts: Partial<Claim> = {}): Claim {
  return {
    id: newId(),
    fingerprint: newFingerprint(),
    token: newToken(),
    leaseMs: longMs,
    retentionMs: longMs,
    operation: 'conformance',
    principalTag: 'principal-of-conformance',
    ...parts,
  }
}

export function completion(
  { id, token }: Held,
  parts: { outcome?: Uint8Array; retentionMs?: number; tombstoneMs?: number } = {},
): Settlement {
  const { outcome = Buffer.from('outcome'), retentionMs = longMs, tombstoneMs = 0 } = parts
  return { id, token, to: 'completed', outcome, retentionMs, tombstoneMs }
}

/** A record for comparison: its octets as text, so that a Buffer equals a Uint8Array. */
export function plain(record: IdempotencyRecord | undefined): unknown {
  if (record?.phase !== 'completed') return record === undefined ? undefined : { ...record }
  return { ...record, outcome: Buffer.from(record.outcome).toString('hex') }
}

/** The only reply, which must not be a failure. */
export async function only<Reply>(call: Promise<Replies<Reply>>): Promise<Exclude<Reply, FailedItem>> {
  const { replies } = await call
  assert.equal(replies.length, 1, 'one item has one reply')
  const reply = replies[0] as Reply | FailedItem
  if (isFailed(reply)) throw reply.error
  return reply as Exclude<Reply, FailedItem>
}

export function isFailed(reply: unknown): reply is FailedItem {
  return typeof reply === 'object' && reply !== null && (reply as { kind?: unknown }).kind === 'failed'
}

export function createContext(
  store: IdempotencyStore,
  business: BusinessWrites | undefined,
  pass: (ms: number) => Promise<void>,
): Context {
  const shortMs = Math.max(30, store.capabilities.expiryGranularityMs)
  const context: Context = {
    store,
    transactional: store as TransactionalStore<unknown>,
    get business(): BusinessWrites {
      assert.ok(business, 'a store that joins transactions is tested with `business`')
      return business
    },
    shortMs,
    pass,
    passShort: () => pass(2 * shortMs),
    claim: (claim, verbs = store) => only(verbs.claim([claim])),
    supersede: (seen, claim, verbs = store) => only(verbs.supersede([takeover(seen, claim)])),
    settle: (settlement, verbs = store) => only(verbs.settle([settlement])),
    renew: ({ id, token }, leaseMs) => only(store.renew([{ id, token, leaseMs }])),
    read: async (id) => (await store.read([id])).replies[0],
    bring: (state) => bring(context, state),
  }
  return context
}

async function bring(context: Context, state: State): Promise<Seen> {
  const { shortMs, claim, settle, passShort, store } = context
  const running = state.startsWith('running')
  const asked = newClaim({
    leaseMs: running && state !== 'running, lease live' ? shortMs : longMs,
    retentionMs: state === 'running, past' ? 0 : longMs,
  })
  const { id, token } = asked
  const phase = state === 'absent' ? 'running' : (state.split(',')[0] as Phase)
  const held: Seen = { id, token, phase }
  if (state === 'absent') return held
  await claim(asked)
  const isPast = state.endsWith('past')
  switch (state) {
    case 'running, lease live':
      return held
    case 'running, lease over':
    case 'running, past':
      break
    case 'completed, retained':
      await settle(completion(asked, { tombstoneMs: longMs }))
      return held
    case 'completed, retention over':
    case 'completed, past':
    case 'tombstone':
      await settle(completion(asked, { retentionMs: shortMs, tombstoneMs: isPast ? 0 : longMs }))
      break
    case 'released, marker live':
    case 'released, past':
      await settle({ id, token, to: 'released', markerMs: isPast ? shortMs : longMs })
      break
    case 'unknown, retained':
    case 'unknown, past':
      await settle({ id, token, to: 'unknown', retentionMs: isPast ? shortMs : longMs })
      break
    default:
      return state satisfies never
  }
  await passShort()
  if (state === 'tombstone') await store.sweep(1_000)
  return held
}
