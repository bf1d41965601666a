/** Which fields of an answer are stored and replayed, and which belong to one sending only. */
import type { HeaderLine } from '../core/outcome.ts'

/**
 * Fields of a connection, of a moment, of a session or of one request: they are never stored. (RFC 9110, sections
 * 7.6.1 and 6.6; RFC 9111, section 3.1.) Content-Length is made anew from the octets.
 */
const deniedNames: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'content-length',
  'date',
  'age',
  'expires',
  'set-cookie',
  'set-cookie2',
  'authorization',
  'www-authenticate',
  'authentication-info',
  'via',
  'alt-svc',
  'server-timing',
  'request-id',
  'x-request-id',
  'x-correlation-id',
  'x-trace-id',
  'x-amzn-trace-id',
  'traceparent',
  'tracestate',
  'idempotent-replayed',
  'idempotency-replay-body',
  'idempotency-unprotected',
])

const deniedPrefixes = ['proxy-', 'access-control-', 'ratelimit', 'x-ratelimit-']

/** Marks an answer whose request ran without protection, because the store was down and the options say so. */
export const unprotectedLine: HeaderLine = ['Idempotency-Unprotected', 'store-unavailable']

/** Whether a field, by its name in lower case, belongs to the current sending and not to the outcome. */
export function isOfThisSending(name: string): boolean {
  return deniedNames.has(name) || deniedPrefixes.some((prefix) => name.startsWith(prefix))
}

/** The lines of an answer that are its outcome. */
export function storedHeaders(lines: readonly HeaderLine[]): HeaderLine[] {
  const named = connectionOptions(lines)
  return lines.filter(([name]) => {
    const lower = name.toLowerCase()
    return !isOfThisSending(lower) && !named.has(lower)
  })
}

/** The values of each field, by its name as it first came, in order. */
export function valuesByName(lines: readonly HeaderLine[]): Iterable<readonly [string, readonly string[]]> {
  const found = new Map<string, [string, string[]]>()
  for (const [name, value] of lines) {
    const lower = name.toLowerCase()
    const known = found.get(lower)
    if (known === undefined) found.set(lower, [name, [value]])
    else known[1].push(value)
  }
  return found.values()
}

const noNames: ReadonlySet<string> = new Set()

/** Names in lower case that the Connection fields of a message declare as belonging to the connection. */
export function connectionOptions(lines: readonly HeaderLine[]): ReadonlySet<string> {
  let named: Set<string> | undefined
  for (const [name, value] of lines) {
    if (name.length !== 10 || name.toLowerCase() !== 'connection') continue
    named ??= new Set()
    for (const option of value.split(',')) named.add(option.trim().toLowerCase())
  }
  return named ?? noNames
}

/**
 * The fields of a replay. A stored answer that said how long it is fresh would, under a new Date, look fresh
 * again, and one that said nothing might be kept by a cache; both get `no-store`.
 */
export function replayHeaders(stored: readonly HeaderLine[], marker: string | false): HeaderLine[] {
  let restricted = false
  const lines = stored.filter(([name, value]) => {
    if (name.toLowerCase() !== 'cache-control') return true
    if (givesFreshness.test(value)) return false
    restricted = true
    return true
  })
  if (!restricted) lines.push(['Cache-Control', 'no-store'])
  if (marker !== false) lines.push([marker, 'true'])
  return lines
}

const givesFreshness = /\b(?:max-age|s-maxage|public|immutable|stale-while-revalidate)\b/i
