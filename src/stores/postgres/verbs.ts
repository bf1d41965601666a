/**
 * The verbs over one way to run a statement: the pool, where each commits by itself, or a transaction. An item
 * that cannot be written down is answered `failed` and does not travel.
 */
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
import type { Row } from './client.ts'
import { fingerprintHex, idHex, recordOf, textHex, tokenHex } from './rows.ts'
import type { ColumnedStatement, Statements } from './statements.ts'

/** Largest encoded outcome that the store takes. */
export const outcomeBytesMax: number = 16 * 1024 * 1024
/** Outcomes in one batch, in octets; larger batches are split, because octets travel as twice as much text. */
const batchBytesMax = 4 * 1024 * 1024
/** More than a thousand years: the sweep still counts the minutes of two of them in 32 bits. */
const durationMsMax = 2 ** 45
const operationCharactersMax = 255
const tagCharactersMax = 255

export type Run = (statement: ColumnedStatement, values: readonly unknown[]) => Promise<readonly Row[]>

/** An item that can be sent: its place in the verb and its values, one for each parameter. */
interface Sendable {
  readonly at: number
  readonly values: readonly string[]
}

export interface VerbRunner {
  readonly statements: Statements
  readonly run: Run
}

export async function claim(verbs: VerbRunner, claims: readonly Claim[]): Promise<Replies<ClaimReply>> {
  return await answerAll<Claim, ClaimReply>(
    verbs,
    claims,
    claimValues,
    async (sent) => {
      const rows =
        sent.length === 1
          ? await verbs.run(verbs.statements.claimOne, (sent[0] as Sendable).values)
          : await verbs.run(verbs.statements.claim, asArrays(sent))
      // A claim that is in the batch twice is inserted once, and both its places find it inserted.
      const claimed = new Set<string>()
      const isRepeated = ([ord, , record]: Row): boolean => {
        const [id] = (sent[Number(ord) - 1] as Sendable).values as [string]
        const repeated = record === null && claimed.has(id)
        claimed.add(id)
        return repeated
      }
      return rows
        .filter((row) => sent.length === 1 || !isRepeated(row))
        .map((row) => ({ ord: Number(row[0]), now: Number(row[1]), reply: claimReply(row[2]) }))
    },
    (record) => (record === undefined ? gone() : { kind: 'found', record }),
  )
}

export async function supersede(
  verbs: VerbRunner,
  takeovers: readonly Takeover[],
): Promise<Replies<TakeoverReply>> {
  return await answerAll<Takeover, TakeoverReply>(
    verbs,
    takeovers,
    ({ seenToken, seenPhase, claim: asked }) => {
      const [id, ...rest] = claimValues(asked)
      return [id as string, tokenHex(seenToken), String(phaseNumberOf(seenPhase)), ...rest]
    },
    async (sent) => {
      const rows = await verbs.run(verbs.statements.supersede, asArrays(sent))
      return rows.map((row) => ({
        ord: Number(row[0]),
        now: Number(row[1]),
        reply: { kind: 'superseded', fence: Number(row[2]) },
      }))
    },
    (record) => ({ kind: 'refused', record }),
  )
}

export async function renew(verbs: VerbRunner, renewals: readonly Renewal[]): Promise<Replies<RenewalReply>> {
  return await answerAll<Renewal, RenewalReply>(
    verbs,
    renewals,
    ({ id, token, leaseMs }) => [idHex(id), tokenHex(token), milliseconds(leaseMs)],
    async (sent) => applied(await verbs.run(verbs.statements.renew, asArrays(sent)), { kind: 'renewed' }),
    () => ({ kind: 'lost' }),
  )
}

export async function settle(
  verbs: VerbRunner,
  settlements: readonly Settlement[],
): Promise<Replies<SettlementReply>> {
  const [only] = settlements
  if (settlements.length === 1 && only !== undefined) return await settleOne(verbs, only)
  return await answerAll<Settlement, SettlementReply>(
    verbs,
    settlements,
    (settlement) => {
      const { phase, liveMs, keptMs, outcome } = settledParts(settlement)
      const head = [idHex(settlement.id), tokenHex(settlement.token)]
      return [...head, String(phase), milliseconds(liveMs), milliseconds(keptMs), outcomeHex(outcome)]
    },
    async (sent) => {
      const rows: Row[] = []
      let sentBefore = 0
      for (const part of parts(sent)) {
        const found = await verbs.run(verbs.statements.settle, asArrays(part))
        for (const [ord, now] of found) rows.push([Number(ord) + sentBefore, now])
        sentBefore += part.length
      }
      return applied(rows, { kind: 'settled' })
    },
    (record) => ({ kind: 'refused', record }),
  )
}

/** One outcome travels as octets, not as text. */
async function settleOne(verbs: VerbRunner, settlement: Settlement): Promise<Replies<SettlementReply>> {
  return await answerAll<Settlement, SettlementReply>(
    verbs,
    [settlement],
    (only) => {
      const { phase, liveMs, keptMs, outcome } = settledParts(only)
      checkOutcome(outcome)
      const head = [idHex(only.id), tokenHex(only.token)]
      return [...head, String(phase), milliseconds(liveMs), milliseconds(keptMs)]
    },
    async ([sent]) => {
      const { outcome } = settledParts(settlement)
      const values = [...(sent as Sendable).values, asBuffer(outcome)]
      return applied(await verbs.run(verbs.statements.settleOne, values), { kind: 'settled' })
    },
    (record) => ({ kind: 'refused', record }),
  )
}

export async function read(
  verbs: VerbRunner,
  ids: readonly RecordId[],
): Promise<Replies<IdempotencyRecord | undefined>> {
  const rows = await verbs.run(verbs.statements.read, [`{${ids.map(idHex).join(',')}}`])
  const replies: (IdempotencyRecord | undefined)[] = ids.map(() => undefined)
  for (const row of rows) replies[Number(row[0]) - 1] = recordOf(row[2])
  return { now: await nowOf(verbs, rows), replies }
}

/** The parameters of a claim, in the order of the statements. */
export function claimValues(claim: Claim): readonly string[] {
  const { id, token, fingerprint, principalTag, operation, leaseMs, retentionMs } = claim
  return [
    idHex(id),
    tokenHex(token),
    fingerprintHex(fingerprint),
    textHex(principalTag, tagCharactersMax),
    textHex(operation, operationCharactersMax),
    milliseconds(leaseMs),
    milliseconds(retentionMs),
  ]
}

/** What a claim found: nothing, so that it is claimed, or a record. */
export function claimReply(record: unknown): ClaimReply {
  if (record === null || record === undefined) return { kind: 'claimed' }
  return caught(() => ({ kind: 'found', record: recordOf(record) }))
}

/** A whole number of milliseconds that fits a column. @throws StoreError `permanent` */
export function milliseconds(ms: number): string {
  const whole = typeof ms === 'number' ? Math.round(ms) : Number.NaN
  if (whole >= 0 && whole <= durationMsMax) return String(whole)
  throw new StoreError('permanent', 'A duration is no number, negative or too long.')
}

/** @throws StoreError `permanent` when the outcome is not octets, or over the limit */
export function checkOutcome(outcome: Uint8Array | undefined): void {
  if (outcome === undefined) return
  if (!(outcome instanceof Uint8Array)) throw new StoreError('permanent', 'An outcome is not octets.')
  if (outcome.byteLength > outcomeBytesMax) {
    throw new StoreError('permanent', `An outcome is over ${outcomeBytesMax} bytes.`)
  }
}

/** The octets of an outcome as hexadecimal text. @throws StoreError `permanent` */
export function outcomeHex(outcome: Uint8Array | undefined): string {
  checkOutcome(outcome)
  return asBuffer(outcome).toString('hex')
}

function asBuffer(outcome: Uint8Array | undefined): Buffer {
  if (outcome === undefined) return Buffer.alloc(0)
  return Buffer.from(outcome.buffer, outcome.byteOffset, outcome.byteLength)
}

/** A row that a statement answered, for the item at `ord` (1 is the first) of those sent. */
interface Answered<Reply> {
  readonly ord: number
  readonly now: number
  readonly reply: Reply
}

/**
 * Sends what can be sent; for the items that got no row, a statement of its own reads what is there, and `rest`
 * makes a reply of it.
 */
async function answerAll<Item extends { readonly id: RecordId } | Takeover, Reply>(
  verbs: VerbRunner,
  items: readonly Item[],
  values: (item: Item) => readonly string[],
  send: (sent: readonly Sendable[]) => Promise<readonly Answered<Reply>[]>,
  rest: (record: IdempotencyRecord | undefined) => Reply,
): Promise<Replies<Reply | FailedItem>> {
  const replies: (Reply | FailedItem | undefined)[] = items.map(() => undefined)
  const sent: Sendable[] = []
  for (const [at, item] of items.entries()) {
    const made = caught(() => ({ at, values: values(item) }))
    if ('kind' in made) replies[at] = made
    else sent.push(made)
  }
  const answered = sent.length === 0 ? [] : await send(sent)
  for (const { ord, reply } of answered) replies[(sent[ord - 1] as Sendable).at] = reply
  const open = sent.filter(({ at }) => replies[at] === undefined)
  let now = answered[0]?.now
  if (open.length > 0) {
    const rows = await verbs.run(verbs.statements.read, [`{${open.map(({ values: [id] }) => id).join(',')}}`])
    now ??= await nowOf(verbs, rows)
    const byOrd = new Map(rows.map((row) => [Number(row[0]), row[2]]))
    for (const [at, item] of open.entries()) {
      const record = byOrd.get(at + 1)
      replies[item.at] = caught(() => rest(record === undefined ? undefined : recordOf(record)))
    }
  }
  return { now: now ?? (await nowOf(verbs, [])), replies: replies as (Reply | FailedItem)[] }
}

function applied<Reply>(rows: readonly Row[], reply: Reply): readonly Answered<Reply>[] {
  return rows.map((row) => ({ ord: Number(row[0]), now: Number(row[1]), reply }))
}

async function nowOf(verbs: VerbRunner, rows: readonly Row[]): Promise<number> {
  const [first] = rows
  if (first !== undefined) return Number(first[1])
  const [row] = await verbs.run(verbs.statements.now, [])
  return Number(row?.[0])
}

/** One array literal for each parameter. No value needs quoting: all are hexadecimal or numbers. */
function asArrays(sent: readonly Sendable[]): readonly string[] {
  const [first] = sent
  return (first as Sendable).values.map((_, at) => {
    const column = sent.map(({ values }) => values[at] || '""')
    return `{${column.join(',')}}`
  })
}

/** Cuts a batch of settlements where its outcomes grow too large. */
function parts(sent: readonly Sendable[]): readonly (readonly Sendable[])[] {
  const made: Sendable[][] = []
  let bytes = 0
  for (const item of sent) {
    const size = (item.values.at(-1)?.length ?? 0) / 2
    if (made.length === 0 || bytes + size > batchBytesMax) {
      made.push([])
      bytes = 0
    }
    bytes += size
    made.at(-1)?.push(item)
  }
  return made
}

function caught<Value>(make: () => Value): Value | FailedItem {
  try {
    return make()
  } catch (error) {
    if (error instanceof StoreError) return { kind: 'failed', error }
    throw error
  }
}

function gone(): FailedItem {
  const error = new StoreError('transient', 'A record was removed while it was looked at.')
  return { kind: 'failed', error }
}
