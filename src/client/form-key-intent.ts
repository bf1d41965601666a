/** Names for what is meant: equal parts have one name, whatever order their members were written in. */

/** One part of an intent: the operation, ids, amounts. Objects, arrays and dates count by what they hold. */
export type IntentPart = string | number | boolean | bigint | Date | object | null | undefined

/**
 * The name under which an intent's key is kept. A digest, so that storage shows no ids and amounts in passing; it is no
 * protection against somebody who can guess them.
 *
 * Of a file its name, type, size and time count, not its octets.
 */
export function intentName(parts: readonly unknown[]): string {
  return digest(JSON.stringify(parts, plain) ?? '')
}

/** JSON's replacer: members in one order, and a text for what JSON would leave out. */
function plain(_name: string, value: unknown): unknown {
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  const file = value as File
  if (value instanceof Blob) return [file.name, file.type, file.size, file.lastModified]
  // Forms, maps, sets and octets.
  if (Symbol.iterator in value) return Array.from(value as Iterable<unknown>)
  return Object.fromEntries(Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1)))
}

/**
 * 64 bits, at once: the digests that browsers bring answer later, and a first render cannot wait. Where two intents
 * share one, the server sees one key with two requests and refuses the second.
 */
function digest(text: string): string {
  let [high, low] = [0x9e3779b9, 0x85ebca6b]
  for (const letter of text) {
    high = Math.imul(high ^ (letter.codePointAt(0) as number), 0x01000193) ^ (low >>> 15)
    low = Math.imul(low ^ high, 0xc2b2ae35)
  }
  return `${high}${low}`
}
