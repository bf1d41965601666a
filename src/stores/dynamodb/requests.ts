/** The shape of each request on the table of records, in one place. Attributes are named by `#` and values by `:`. */
import type { Phase } from '../../core/record.ts'
import type { Claim, Renewal, Settlement, Takeover } from '../../core/store.ts'
import type { AttributeValue, DeleteRequest, Item, PutRequest, UpdateRequest } from './client.ts'
import {
  deadlines,
  holderAttributes,
  keyAttribute,
  keyOf,
  lease,
  number,
  phaseValue,
  secondsOf,
  settledAttributes,
  text,
  timeToLiveAttribute,
  tokenValue,
} from './items.ts'
import type { ServerTime } from './server-clock.ts'

/** A refusal shows the item that is there: one request less than reading it. */
const refusalsShow = { ReturnValuesOnConditionCheckFailure: 'ALL_OLD' } as const

const absent = 'attribute_not_exists(#id)'
const isHeld = '#token = :held AND #phase = :running'
/** What the claimer saw is still there, and is not running with a live lease. */
const isAsSeen = '#token = :seenToken AND #phase = :seenPhase AND (#phase <> :running OR #sureUntil <= :now)'

function names(...attributes: readonly string[]): Record<string, string> {
  return Object.fromEntries(attributes.map((attribute) => [`#${attribute}`, attribute]))
}

/** `SET` of every attribute to a value, and what belongs to it. */
function assignments(item: Item): {
  readonly set: string
  readonly names: Record<string, string>
  readonly values: Item
} {
  const attributes = Object.keys(item)
  return {
    set: attributes.map((attribute) => `#${attribute} = :${attribute}`).join(', '),
    names: names(...attributes),
    values: Object.fromEntries(Object.entries(item).map(([attribute, value]) => [`:${attribute}`, value])),
  }
}

/** Inserts the running record where nothing is. @throws StoreError `permanent` */
export function claimRequest(table: string, claim: Claim, time: ServerTime): PutRequest {
  return {
    TableName: table,
    Item: claimedItem(claim, time),
    ConditionExpression: absent,
    ExpressionAttributeNames: names(keyAttribute),
    ...refusalsShow,
  }
}

/** A running record as its first holder makes it. @throws StoreError `permanent` */
export function claimedItem(claim: Claim, time: ServerTime): Item {
  return {
    ...keyOf(claim.id),
    ...holderAttributes(claim),
    fence: number(1),
    createdAt: number(time.earliest),
    ...deadlines(time, claim.leaseMs, claim.retentionMs),
  }
}

/** Replaces what was seen; its answer has the new fence. @throws StoreError `permanent` */
export function supersedeRequest(table: string, takeover: Takeover, time: ServerTime): UpdateRequest {
  const { claim, seenToken, seenPhase } = takeover
  const {
    set,
    names: named,
    values,
  } = assignments({
    ...holderAttributes(claim),
    ...deadlines(time, claim.leaseMs, claim.retentionMs),
  })
  return {
    TableName: table,
    Key: keyOf(claim.id),
    UpdateExpression: `SET ${set}, #fence = #fence + :one REMOVE #settledAt, #outcome`,
    ConditionExpression: isAsSeen,
    ExpressionAttributeNames: { ...named, ...names('fence', 'settledAt', 'outcome') },
    ExpressionAttributeValues: { ...values, ...seenValues(seenToken, seenPhase, time), ':one': number(1) },
    ReturnValues: 'UPDATED_NEW',
    ...refusalsShow,
  }
}

function seenValues(token: string, phase: Phase, time: ServerTime): Item {
  return {
    ':seenToken': tokenValue(token),
    ':seenPhase': phaseValue(phase),
    ':running': text('running'),
    ':now': number(time.earliest),
  }
}

/** Moves the lease of its holder. The server adds how long the record is kept, which only the item knows. */
export function renewRequest(
  table: string,
  { id, token, leaseMs }: Renewal,
  time: ServerTime,
): UpdateRequest {
  const until = lease(time, leaseMs)
  const { set, names: named, values } = assignments(until)
  return {
    TableName: table,
    Key: keyOf(id),
    UpdateExpression: `SET ${set}, #expires = #keptSeconds + :seconds`,
    ConditionExpression: isHeld,
    ExpressionAttributeNames: {
      ...named,
      ...names(timeToLiveAttribute, 'keptSeconds', 'token', 'phase'),
    },
    ExpressionAttributeValues: { ...values, ...heldValues(token), ':seconds': number(secondsOf(until)) },
    ...refusalsShow,
  }
}

/** Ends the attempt of its holder. @throws StoreError `permanent` */
export function settleRequest(table: string, settlement: Settlement, time: ServerTime): UpdateRequest {
  const { set, names: named, values } = assignments(settledAttributes(settlement, time))
  return {
    TableName: table,
    Key: keyOf(settlement.id),
    UpdateExpression: `SET ${set}`,
    ConditionExpression: isHeld,
    ExpressionAttributeNames: { ...named, ...names('token', 'phase') },
    ExpressionAttributeValues: { ...values, ...heldValues(settlement.token) },
    ...refusalsShow,
  }
}

function heldValues(token: string): Item {
  return { ':held': tokenValue(token), ':running': text('running') }
}

/** What was there when a transaction first looked, and what may have become of it until it commits. */
export type Seen =
  | { readonly kind: 'absent' }
  /** The transaction's own holder settles it. */
  | { readonly kind: 'held'; readonly token: string }
  /** The transaction takes it over. */
  | { readonly kind: 'replaced'; readonly token: string; readonly phase: Phase }

/** A whole record, as an entry of a transaction that fails where what was seen is no longer there. */
export function recordEntry(table: string, item: Item, seen: Seen, time: ServerTime): PutRequest {
  const put = { TableName: table, Item: item, ...refusalsShow }
  switch (seen.kind) {
    case 'absent':
      return { ...put, ConditionExpression: absent, ExpressionAttributeNames: names(keyAttribute) }
    case 'held':
      return {
        ...put,
        ConditionExpression: isHeld,
        ExpressionAttributeNames: names('token', 'phase'),
        ExpressionAttributeValues: heldValues(seen.token),
      }
    case 'replaced':
      return {
        ...put,
        ConditionExpression: isAsSeen,
        ExpressionAttributeNames: names('token', 'phase', 'sureUntil'),
        ExpressionAttributeValues: seenValues(seen.token, seen.phase, time),
      }
    default:
      return seen satisfies never
  }
}

/** Takes the outcome of a completed record away, unless it was changed since it was seen. */
export function entombRequest(table: string, seen: Item): UpdateRequest {
  const unchanged = unchangedCondition(seen)
  return {
    TableName: table,
    Key: { [keyAttribute]: seen[keyAttribute] as AttributeValue },
    UpdateExpression: 'SET #phase = :tombstone REMOVE #outcome',
    ...unchanged,
    ExpressionAttributeNames: { ...unchanged.ExpressionAttributeNames, ...names('outcome') },
    ExpressionAttributeValues: { ...unchanged.ExpressionAttributeValues, ':tombstone': text('tombstone') },
  }
}

/** Removes a record, unless it was changed since it was seen. */
export function removeRequest(table: string, seen: Item): DeleteRequest {
  return {
    TableName: table,
    Key: { [keyAttribute]: seen[keyAttribute] as AttributeValue },
    ...unchangedCondition(seen),
  }
}

function unchangedCondition(seen: Item): {
  readonly ConditionExpression: string
  readonly ExpressionAttributeNames: Record<string, string>
  readonly ExpressionAttributeValues: Item
} {
  return {
    ConditionExpression: '#token = :token AND #phase = :phase AND #sureUntil = :sureUntil',
    ExpressionAttributeNames: names('token', 'phase', 'sureUntil'),
    ExpressionAttributeValues: {
      ':token': seen['token'] as AttributeValue,
      ':phase': seen['phase'] as AttributeValue,
      ':sureUntil': seen['sureUntil'] as AttributeValue,
    },
  }
}

/** What the sweep looks at: everything but the outcome. */
export const sweptAttributes: {
  readonly ProjectionExpression: string
  readonly ExpressionAttributeNames: Record<string, string>
} = projection(keyAttribute, 'v', 'phase', 'token', 'sureUntil', 'keptMs')

function projection(...attributes: readonly string[]): typeof sweptAttributes {
  const named = names(...attributes)
  return { ProjectionExpression: Object.keys(named).join(', '), ExpressionAttributeNames: named }
}
