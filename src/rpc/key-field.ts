/**
 * Keys in the Idempotency-Key field: one for a request with one call, a list of strings (RFC 9651), one for each call,
 * for a request with several.
 */
import { MalformedKeyError } from '../core/errors.ts'
import { parseKeyField } from '../core/key.ts'

const limits = { lengthMin: 1, lengthMax: 255 }
const member = /[ \t]*("(?:[^"\\]|\\["\\])*")[ \t]*(,|$)/y

/** Writes keys as one field value; a call without a key has an empty string in its place. */
export function writeKeyList(keys: readonly (string | undefined)[]): string {
  return keys.map((key = '') => `"${key.replace(/["\\]/g, '\\$&')}"`).join(', ')
}

/**
 * The key of one call of a request. One call has the field for itself; of several each has a member of the list, so
 * that one key never names two calls.
 *
 * @throws MalformedKeyError
 */
export function keyOfCall(field: string, index: number, calls: number): string | undefined {
  if (calls === 1) return keyOfField(field)
  const members = membersOf(field)
  if (members.length !== calls) {
    throw new MalformedKeyError(
      `The request has ${calls} calls and must name a key for each, as a list of strings.`,
    )
  }
  const own = members[index]
  return own === undefined || own === '""' ? undefined : keyOfField(own)
}

/** @throws MalformedKeyError */
export function keyOfField(text: string): string {
  const parsed = parseKeyField(text, 'lenient', limits)
  if (parsed.kind === 'malformed') throw new MalformedKeyError(parsed.rule)
  return parsed.key
}

/** The quoted strings of a list; none where it is anything else. */
function membersOf(field: string): string[] {
  const members: string[] = []
  let at = 0
  while (at < field.length) {
    member.lastIndex = at
    const found = member.exec(field)
    if (found === null) return []
    members.push(found[1] as string)
    at = member.lastIndex
    if (found[2] === '') return at === field.length ? members : []
  }
  return []
}
