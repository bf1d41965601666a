/**
 * A statement of the user's and its record as one statement, which commits by itself. The record is inserted
 * last and without ON CONFLICT: where the key is there already, the unique index refuses it and takes the
 * user's effect back with it, in whatever order Postgres runs the parts.
 */
import type { Statement, StatementOnce } from '../../core/store.ts'
import { phaseNumber } from '../sql/phases.ts'
import type { TableName } from '../../core/table-name.ts'
import { quoted } from './statements.ts'
import { claimValues, milliseconds } from './verbs.ts'

/** Ends a comment that the user's text may end with, and drops its semicolon. */
function inner({ text }: Statement): string {
  return `${text.trim().replace(/;+$/, '')}\n`
}

/** The rows that a statement returns, as one JSON text. */
export function rowsText(statement: Statement): string {
  return `WITH effect AS (${inner(statement)}) SELECT coalesce(json_agg(effect.*), '[]')::text AS rows FROM effect`
}

/** An operation has one text; more than this are made by concatenation. */
const textsMax = 1_000

/** The statements around the user's: made once for each text, since that takes longer than looking one up. */
export class OnceTexts {
  readonly #table: TableName
  readonly #prefix: readonly [version: number, kind: number]
  readonly #texts = new Map<string, { readonly valueCount: number; readonly text: string }>()

  /** @param prefix the first octets of the outcomes */
  constructor(table: TableName, prefix: readonly [version: number, kind: number]) {
    this.#table = table
    this.#prefix = prefix
  }

  of(statement: Statement): string {
    const known = this.#texts.get(statement.text)
    if (known?.valueCount === statement.values.length) return known.text
    const text = onceText(this.#table, statement, this.#prefix)
    if (this.#texts.size >= textsMax) this.#texts.clear()
    this.#texts.set(statement.text, { valueCount: statement.values.length, text })
    return text
  }
}

/** The user's parameters come first, as they are numbered in their text. */
function onceText(
  name: TableName,
  statement: Statement,
  [version, kind]: readonly [version: number, kind: number],
): string {
  const first = statement.values.length
  const $ = (place: number): string => `$${first + place}`
  const prefix = Buffer.from([version, kind]).toString('hex')
  return `
    WITH effect AS (${inner(statement)}), body AS (
      SELECT convert_to(coalesce(json_agg(effect.*), '[]')::text, 'UTF8') AS head FROM effect
    ), clock AS MATERIALIZED (
      SELECT floor(date_part('epoch', clock_timestamp()) * 1000)::bigint AS now
    )
    INSERT INTO ${quoted(name)} (created_at, settled_at, live_until, kept_until, fence, sweep_minute, phase, id, token,
                fingerprint, principal_tag, operation, outcome)
    SELECT now, now, now + ${$(6)}::bigint, now + ${$(6)}::bigint + ${$(7)}::bigint, 1,
           ((now + ${$(6)}::bigint) / 60000)::int, ${phaseNumber.completed}, ${$(1)}::uuid, ${$(2)}::uuid,
           decode(${$(3)}, 'hex'), convert_from(decode(${$(4)}, 'hex'), 'UTF8'),
           convert_from(decode(${$(5)}, 'hex'), 'UTF8'),
           '\\x${prefix}'::bytea || int4send(octet_length(head)) || head
    FROM body CROSS JOIN clock
    RETURNING outcome`
}

export function onceValues({
  statement,
  claim,
  retentionMs,
  tombstoneMs,
}: StatementOnce): readonly unknown[] {
  const [id, token, fingerprint, principalTag, operation] = claimValues(claim)
  return [
    ...statement.values,
    id,
    token,
    fingerprint,
    principalTag,
    operation,
    milliseconds(retentionMs),
    milliseconds(tombstoneMs),
  ]
}
