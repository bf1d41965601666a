/** Names for what is meant: equal parts have one name, whatever order their members were written in. */

/** One part of an intent: the operation, ids, amounts. Objects, arrays and dates count by what they hold. */
export type IntentPart = string | number | boolean | bigint | Date | object | null | undefined

/** What the names of all intents begin with. */
export const namePrefix = 'retrysafe-key:'

/**
 * The name under which an intent's key is kept. A digest, so that storage shows no ids and amounts in passing; it is no
 * protection against somebody who can guess them.
 *
 * It has 64 bits, at once: the digests that browsers bring answer later, and a first render cannot wait. Where two
 * intents share one, the server sees one key with two requests and refuses the second.
 *
 * Of a file its name, type, size and time count, not its octets; of other objects what they list, so that two without
 * members are the same.
 */
export function intentName(parts: readonly unknown[]): string {
  // FNV-1a.
  let hash = 0xcbf29ce484222325n
  for (const letter of JSON.stringify(parts, plain)) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(letter.codePointAt(0) as number)) * 0x100000001b3n)
  }
  return namePrefix + hash
}

/** JSON's replacer: members in one order, and a text for what JSON would leave out or write alike. */
function plain(_name: string, value: unknown): unknown {
  // A member that is `undefined` is as good as none.
  if (Object(value) !== value) return value === undefined ? value : typeof value + String(value)
  const held = value as File
  if (value instanceof Blob) return [held.name, held.type, held.size, held.lastModified]
  // Lists, forms, maps, sets and octets.
  if (Symbol.iterator in held) return Array.from(value as Iterable<unknown>)
  return Object.fromEntries(Object.entries(held).sort(([one], [other]) => (one < other ? -1 : 1)))
}
