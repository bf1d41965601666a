/** Header fields as they pass a gateway: what ends at each hop, and what each hop adds. */
import type { IncomingMessage } from 'node:http'
import type { HeaderLine } from '../core/outcome.ts'
import { connectionOptions } from '../http/headers.ts'

/** Fields that belong to one connection (RFC 9110, section 7.6.1), and those that Node and undici write. */
const hopByHop: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

const via = '1.1 retrysafe'

function endsHere(lower: string, named: ReadonlySet<string>): boolean {
  // Without its length a message would have another body, so no Connection field takes that away.
  return hopByHop.has(lower) || (named.size > 0 && named.has(lower) && lower !== 'content-length')
}

/** The lines of a message without those that end here. */
export function endToEnd(lines: readonly HeaderLine[]): HeaderLine[] {
  const named = connectionOptions(lines)
  return lines.filter(([name]) => !endsHere(name.toLowerCase(), named))
}

/** Pairs a flat list as Node (`rawHeaders`) and undici give it. */
export function asLines(flat: readonly (string | Uint8Array)[]): HeaderLine[] {
  const lines: HeaderLine[] = []
  for (let at = 0; at + 1 < flat.length; at += 2) lines.push([asText(flat[at]), asText(flat[at + 1])])
  return lines
}

function asText(value: string | Uint8Array | undefined): string {
  if (typeof value === 'string') return value
  if (value === undefined) return ''
  // Field values are octets; Latin-1 keeps each of them.
  return (Buffer.isBuffer(value) ? value : Buffer.from(value)).toString('latin1')
}

/** The flat list that Node and undici take. */
export function asFlat(lines: readonly HeaderLine[]): string[] {
  const flat: string[] = []
  for (const [name, value] of lines) flat.push(name, value)
  return flat
}

/**
 * The fields that go to the upstream: end-to-end fields as they came, Host of the upstream, and where the request
 * came from. X-Forwarded-For is appended to; X-Forwarded-Proto and X-Forwarded-Host are kept where an earlier
 * proxy set them. Expect is answered here, so it ends here.
 */
export function toUpstream(request: IncomingMessage, host: string): string[] {
  const flat = ['Host', host]
  const forwarded: string[] = []
  let proto: string | undefined
  let forwardedHost: string | undefined
  const lines = asLines(request.rawHeaders)
  const named = connectionOptions(lines)
  for (const [name, value] of lines) {
    const lower = name.toLowerCase()
    if (endsHere(lower, named)) continue
    switch (lower) {
      case 'host':
        forwardedHost ??= value
        break
      case 'expect':
        break
      case 'x-forwarded-for':
        forwarded.push(value)
        break
      case 'x-forwarded-proto':
        proto = value
        break
      case 'x-forwarded-host':
        forwardedHost = value
        break
      default:
        flat.push(name, value)
    }
  }
  forwarded.push(request.socket.remoteAddress ?? 'unknown')
  flat.push('X-Forwarded-For', forwarded.join(', '), 'X-Forwarded-Proto', proto ?? 'http')
  if (forwardedHost !== undefined) flat.push('X-Forwarded-Host', forwardedHost)
  flat.push('Via', via)
  return flat
}

/** The fields that go to the client: end-to-end fields as they came, and this hop. */
export function toClient(lines: readonly HeaderLine[]): HeaderLine[] {
  const kept = endToEnd(lines)
  kept.push(['Via', via])
  return kept
}

/** The value of the first line with a name, given in lower case. */
export function fieldOf(lines: readonly HeaderLine[], name: string): string | undefined {
  return lines.find(([each]) => each.toLowerCase() === name)?.[1]
}
