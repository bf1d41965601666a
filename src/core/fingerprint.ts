/**
 * The digest that tells a retry from another request under the same key.
 *
 * A fingerprint is `1.` and a digest over a length-prefixed list that starts with how the content was read
 * (`json`, `parts`, `octets`, `none`, `value`), so that no two readings can give one fingerprint. A change to
 * anything below needs a new version number: stored fingerprints are compared as text.
 */
import { type Digest, digestOf, first128Bits } from './bytes.ts'
import { canonicalJson } from './canonical-json.ts'
import { canonicalValue } from './canonical-value.ts'
import { isJson, isUtf8, type MediaType, mediaTypeText, parseMediaType } from './media-type.ts'
import { boundaryOf, multipartParts } from './multipart.ts'
import type { Fingerprint } from './record.ts'

/** The parts of a request that make it the same request. Other header fields never count. */
export interface RequestHead {
  /** As sent: methods are case-sensitive. */
  readonly method: string
  /** As routed, without the query. */
  readonly path: string
  /** As sent, without the `?`; `''` where there is none. */
  readonly query: string
  /** The Content-Type field, `undefined` where there is none. */
  readonly mediaType: string | undefined
}

export interface ComparedRequest extends RequestHead {
  /** The Content-Encoding field. A coded body is compared as octets, with its coding. */
  readonly contentEncoding?: string | undefined
  readonly body: Uint8Array
}

/**
 * How bodies are compared: `auto` (default) by meaning for JSON and `multipart/form-data` and by octets
 * otherwise, `octets` always by octets, `none` not at all.
 */
export type BodyComparison = 'auto' | 'octets' | 'none'

export type ValueFingerprint =
  | { readonly kind: 'fingerprint'; readonly fingerprint: Fingerprint }
  | { readonly kind: 'unsupported'; readonly path: string }

const version = '1'
const jsonBytesMax = 256 * 1024
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * The fingerprint of an HTTP request.
 *
 * Media types are compared in one spelling, and for JSON and forms `charset=utf-8` is the same as none. JSON is
 * compared in canonical form up to 256 KiB; larger, invalid or ambiguous JSON by octets.
 *
 * @example
 * requestFingerprint(digest, { method: 'POST', path: '/charges', query: '', mediaType: 'application/json', body })
 */
export function requestFingerprint(
  digest: Digest,
  request: ComparedRequest,
  options?: { readonly body?: BodyComparison | undefined },
): Fingerprint {
  const mediaType = request.mediaType === undefined ? undefined : parseMediaType(request.mediaType)
  const coding = normalCoding(request.contentEncoding)
  return fingerprintOf(digest, [
    ...headParts(request, mediaType),
    ...bodyParts(request, mediaType, coding, options?.body ?? 'auto'),
  ])
}

/**
 * The fingerprint of a request whose body exists only as the value that a framework has parsed. It never equals
 * a fingerprint of `requestFingerprint`: one route uses one of the two.
 *
 * @example
 * parsedBodyFingerprint(digest, { method, path, query, mediaType, body: request.body })
 */
export function parsedBodyFingerprint(
  digest: Digest,
  request: RequestHead & { readonly body: unknown },
  options?: { readonly body?: 'auto' | 'none' | undefined },
): ValueFingerprint {
  const mediaType = request.mediaType === undefined ? undefined : parseMediaType(request.mediaType)
  const head = headParts(request, mediaType)
  if (options?.body === 'none') return made(fingerprintOf(digest, [...head, 'none']))
  const body = canonicalValue(request.body)
  if (typeof body !== 'string') return { kind: 'unsupported', path: body.unsupported }
  return made(fingerprintOf(digest, [...head, 'value', body]))
}

/**
 * The fingerprint of an operation's input. `canonicalValue` tells which values can be compared.
 *
 * @example
 * valueFingerprint(digest, 'charge', { amount: 100n, to: 'a' })
 */
export function valueFingerprint(digest: Digest, operation: string, value: unknown): ValueFingerprint {
  const content = canonicalValue(value)
  if (typeof content !== 'string') return { kind: 'unsupported', path: content.unsupported }
  return made(fingerprintOf(digest, ['operation', operation, content]))
}

function made(fingerprint: Fingerprint): ValueFingerprint {
  return { kind: 'fingerprint', fingerprint }
}

type Parts = (string | Uint8Array)[]

function fingerprintOf(digest: Digest, parts: Parts): Fingerprint {
  return `${version}.${first128Bits(digestOf(digest, ['fingerprint', version, ...parts]))}` as Fingerprint
}

function headParts(request: RequestHead, mediaType: MediaType | undefined): Parts {
  const { method, path, query } = request
  const type =
    mediaType === undefined ? (request.mediaType?.trim() ?? '') : mediaTypeText(comparedType(mediaType))
  return ['request', method, path, query, type]
}

/** Without what may differ between two sendings of one request. */
function comparedType(mediaType: MediaType): MediaType {
  if (mediaType.parameters.size === 0) return mediaType
  const { essence } = mediaType
  const parameters = new Map(mediaType.parameters)
  const defaultsToUtf8 = isJson(mediaType) || essence === 'application/x-www-form-urlencoded'
  if (defaultsToUtf8 && parameters.get('charset') === 'utf-8') parameters.delete('charset')
  if (essence.startsWith('multipart/')) parameters.delete('boundary')
  return { essence, parameters }
}

/** In lower case; `''` for none and for `identity`. */
function normalCoding(contentEncoding: string | undefined): string {
  const coding = contentEncoding?.trim().toLowerCase() ?? ''
  return coding === 'identity' ? '' : coding
}

function bodyParts(
  request: ComparedRequest,
  mediaType: MediaType | undefined,
  coding: string,
  comparison: BodyComparison,
): Parts {
  if (comparison === 'none') return ['none']
  const byMeaning = comparison === 'auto' && coding === '' ? partsByMeaning(request, mediaType) : undefined
  return byMeaning ?? ['octets', coding, request.body]
}

function partsByMeaning(request: ComparedRequest, mediaType: MediaType | undefined): Parts | undefined {
  if (mediaType === undefined) return undefined
  if (isJson(mediaType) && isUtf8(mediaType)) {
    const text = jsonText(request.body)
    return text === undefined ? undefined : ['json', text]
  }
  const boundary = boundaryOf(request.mediaType ?? '')
  return boundary === undefined ? undefined : formParts(request.body, boundary)
}

function jsonText(body: Uint8Array): string | undefined {
  if (body.length === 0 || body.length > jsonBytesMax) return undefined
  try {
    return canonicalJson(utf8.decode(body))
  } catch {
    return undefined
  }
}

function formParts(body: Uint8Array, boundary: string): Parts | undefined {
  const parts = multipartParts(body, boundary)
  if (parts === undefined) return undefined
  const compared: Parts = ['parts']
  for (const { name, filename, type, content } of parts) {
    const mediaType = parseMediaType(type)
    const typeText = mediaType === undefined ? type : mediaTypeText(comparedType(mediaType))
    compared.push(name, filename === undefined ? 'field' : `file:${filename}`, typeText, content)
  }
  return compared
}
