import { createHash } from 'node:crypto'

/** One way in which the reference server is wrong on purpose. */
export type Fault =
  // scope and key
  | 'one-record'
  | 'no-principal'
  | 'joined-scope'
  | 'token-is-principal'
  | 'http2-apart'
  | 'bare-apart'
  | 'exact-field-name'
  | 'blank-is-absent'
  | 'empty-key'
  | 'lax-escapes'
  | 'escapes-fail'
  | 'any-octets'
  | 'parameters-in-key'
  | 'folds-case'
  | 'key-from-body'
  | 'not-required'
  // fingerprint
  | 'no-mismatch'
  | 'mismatch-overwrites'
  | 'any-route'
  | 'ignores-query'
  | 'ignores-media-type'
  | 'user-agent-counts'
  | 'framing-counts'
  | 'octets'
  | 'drops-null'
  | 'sorts-arrays'
  | 'float-json'
  | 'normalizes'
  | 'charset-counts'
  | 'octets-multipart'
  | 'ignores-filename'
  // concurrency and results
  | 'slow-claim'
  | 'split-stores'
  | 'stores-refusal'
  | 'stuck-after-failure'
  | 'completion-gap'
  | 'forgets'
  | 'drops-4xx'
  | 'stores-5xx'
  | 'drops-5xx'
  | 'stores-429'
  | 'drops-large'
  // answers
  | 'no-marker'
  | 'always-marker'
  | 'no-retry-after'
  | 'replays-as-200'
  | 'utf8-body'
  | 'replays-set-cookie'
  | 'drops-cookies'
  | 'drops-app-fields'
  | 'both-framings'
  | 'excess-octets'
  | 'stored-cors'
  | 'no-preflight'
  | 'plain-errors'
  | 'wrong-problem-status'
  | 'wrong-code'
  | 'key-in-errors'
  | 'cuts-large'
  | 'continues-early'
  | 'refuses-expect'
  // methods, time, interruption, gateway
  | 'guards-get'
  | 'patch-unguarded'
  | 'empty-body-unguarded'
  | 'never-expires'
  | 'no-renewal'
  | 'abort-releases'
  | 'crash-locks'
  | 'crash-reruns'
  | 'restart-forgets'
  | 'effect-apart'
  | 'claim-apart'
  | 'fails-open'
  | 'resends'
  | 'takes-early-data'

/** Whether the server at hand has a fault. */
export type HasFault = (fault: Fault) => boolean

/** What the layer reads of a request. */
export interface GuardedRequest {
  readonly method: string
  readonly target: string
  readonly headers: Readonly<Record<string, string | undefined>>
  /** Field names as sent. */
  readonly fieldNames: readonly string[]
  readonly http2: boolean
}

/** The key field: absent, unusable, or decoded. */
export type ParsedKey =
  | { readonly kind: 'absent' }
  | { readonly kind: 'malformed' }
  | { readonly kind: 'key'; readonly key: string }

/** Reads Idempotency-Key as a structured-field string, or bare when `lenient`. */
export function parseKey(request: GuardedRequest, lenient: boolean, has: HasFault): ParsedKey {
  const value = request.headers['idempotency-key']
  if (value === undefined || (has('exact-field-name') && request.fieldNames.includes('IDEMPOTENCY-KEY')))
    return { kind: 'absent' }
  if (has('blank-is-absent') && value === '') return { kind: 'absent' }
  const quoted = has('any-octets')
    ? /^"(.*)"$/s
    : /^"((?:[ !#-[\]-~]|\\["\\])*)"((?:;[a-z*][a-z0-9_.*-]*(?:=[^;,]+)?)*)$/
  const match = (has('lax-escapes') ? /^"(.*)"()$/s : quoted).exec(value)
  if (match?.[1] !== undefined) {
    if (match[1] === '' && !has('empty-key')) return { kind: 'malformed' }
    if (has('escapes-fail') && match[1].includes('\\')) throw new Error('escape')
    const key = match[1].replace(/\\(.)/g, '$1') + (has('parameters-in-key') ? match[2] : '')
    return { kind: 'key', key: has('folds-case') ? key.toLowerCase() : key }
  }
  if (!lenient || !/^[A-Za-z0-9._~:-]+$/.test(value)) return { kind: 'malformed' }
  return { kind: 'key', key: has('bare-apart') ? `bare ${value}` : value }
}

/** The record id: principal and key, length first so that no two pairs join to one text. */
export function recordId(request: GuardedRequest, principal: string, key: string, has: HasFault): string {
  if (has('one-record')) return 'record'
  if (has('no-principal')) return key
  if (has('joined-scope')) return `${principal}:${key}`
  if (has('token-is-principal')) return `${request.headers['authorization']} ${key}`
  return `${principal.length}:${principal}${key}${has('http2-apart') && request.http2 ? ' h2' : ''}`
}

/** The digest that tells one request from another under the same key. */
export function fingerprintOf(request: GuardedRequest, body: Buffer, has: HasFault): string {
  const contentType = request.headers['content-type'] ?? ''
  const mediaType = contentType.split(';')[0]?.trim().toLowerCase() ?? ''
  const target = has('ignores-query') ? request.target.split('?')[0] : request.target
  const parts = [
    request.method,
    has('any-route') ? '' : target,
    has('ignores-media-type') ? '' : has('charset-counts') ? contentType : mediaType,
    has('user-agent-counts') ? request.headers['user-agent'] : '',
    has('framing-counts') ? request.headers['transfer-encoding'] : '',
    canonicalBody(mediaType, contentType, body, has),
  ]
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex')
}

function canonicalBody(mediaType: string, contentType: string, body: Buffer, has: HasFault): string {
  if (mediaType === 'multipart/form-data' && !has('octets-multipart')) {
    const boundary = /boundary=([^;]+)/.exec(contentType)?.[1] ?? ''
    const text = body.toString('latin1').split(`--${boundary}`).join('--')
    return has('ignores-filename') ? text.replace(/filename="[^"]*"/g, '') : text
  }
  if (mediaType !== 'application/json' || has('octets')) return body.toString('latin1')
  try {
    const text = has('normalizes') ? body.toString('utf8').normalize() : body.toString('utf8')
    return canonicalJson(JSON.parse(text, has('float-json') ? undefined : (losslessReviver as never)), has)
  } catch {
    return body.toString('latin1')
  }
}

/** Keeps the digits of an integer that a double cannot hold. */
function losslessReviver(_name: string, value: unknown, context: { source?: string }): unknown {
  return typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value)
    ? { integer: context.source }
    : value
}

function canonicalJson(value: unknown, has: HasFault): string {
  if (Array.isArray(value)) {
    const items = value.map((item) => canonicalJson(item, has))
    return `[${(has('sorts-arrays') ? items.sort() : items).join(',')}]`
  }
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value)
    .filter(([, member]) => !(has('drops-null') && member === null))
    .map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member, has)}`)
  return `{${members.sort().join(',')}}`
}
