/**
 * What a protected operation says in terms of OpenAPI: the header parameter, the refusals with their codes, the
 * field that marks a replay, and `x-idempotency`.
 */
import type { JsonObject } from './json.ts'
import type { ProtectedOperation } from './protected-operation.ts'
import type { OpenApiVersion } from './version.ts'

/** The extension that tells tools whether an operation takes a key: an `IdempotencyExtension`, or `false`. */
export const extensionName = 'x-idempotency'

/** The value of `x-idempotency` on an operation that takes a key. */
export interface IdempotencyExtension {
  /** Requests without a key are refused. */
  readonly required: boolean
  /** How long an outcome is replayed after completion: an ISO 8601 duration in units of exact length, such as `PT24H`. */
  readonly retention: string
  /** `principal`: a key is one request anywhere. `endpoint`: keys are independent for each method and path. */
  readonly scope: 'principal' | 'endpoint'
  /** Name of the request field that carries the key. */
  readonly header: string
  /** Statuses of the refusals that are not the usual ones (mismatch 422, inProgress 409). */
  readonly statuses?: { readonly mismatch?: number; readonly inProgress?: number }
  /** Name of the field that marks a replay, where it is not `Idempotent-Replayed`; `false` for none. */
  readonly marker?: string | false
}

export const usualStatuses = { malformed: 400, mismatch: 422, inProgress: 409 } as const
export const usualHeader = 'Idempotency-Key'
export const usualMarker = 'Idempotent-Replayed'
export const problemMediaType = 'application/problem+json'

const hourMs = 3_600_000
const minuteMs = 60_000

/** An ISO 8601 duration in hours, minutes or seconds; a day is not always 24 hours long, so it is not used. */
export function isoDuration(milliseconds: number): string {
  if (milliseconds > 0 && milliseconds % hourMs === 0) return `PT${milliseconds / hourMs}H`
  if (milliseconds > 0 && milliseconds % minuteMs === 0) return `PT${milliseconds / minuteMs}M`
  return `PT${milliseconds / 1000}S`
}

function inWords(milliseconds: number): string {
  for (const [unit, unitMs] of [
    ['day', 24 * hourMs],
    ['hour', hourMs],
    ['minute', minuteMs],
  ] as const) {
    // '24 hours' is how people say it, '1 day' leaves open when the day ends.
    const amount = milliseconds / unitMs
    if (Number.isInteger(amount) && amount > 0 && !(unit === 'day' && amount === 1)) {
      return `${amount} ${unit}${amount === 1 ? '' : 's'}`
    }
  }
  return `${milliseconds / 1000} seconds`
}

/** The value of `x-idempotency`. */
export function extensionOf(operation: ProtectedOperation): IdempotencyExtension {
  const { required, retentionMs, scope, header, statuses, marker } = operation
  const { mismatch, inProgress } = statuses
  const unusual = {
    ...(mismatch === usualStatuses.mismatch ? {} : { mismatch }),
    ...(inProgress === usualStatuses.inProgress ? {} : { inProgress }),
  }
  return {
    required,
    retention: isoDuration(retentionMs),
    scope,
    header,
    ...(Object.keys(unusual).length === 0 ? {} : { statuses: unusual }),
    ...(marker === usualMarker ? {} : { marker }),
  }
}

/** The rules of the key, as a client needs them. In Markdown. */
function keyDescription(operation: ProtectedOperation): string {
  const { required, retentionMs, tombstoneMs, statuses, scope, anonymous, marker } = operation
  const after =
    tombstoneMs > 0
      ? `a later request with the same key is refused with ${statuses.expired}`
      : 'a later request with the same key runs as a new one'
  const independent = scope === 'endpoint' ? 'Keys are independent for each method and path. ' : ''
  return [
    'Makes the request safe to retry: for each key the operation takes effect once, and every retry gets the same answer.',
    'Make a new key, such as a random UUID, for each operation that you intend, and send the same key and the same request with every retry.',
    `${independent}Another request under a used key is refused with ${statuses.mismatch}; a retry while the first request is running, with ${statuses.inProgress} and \`Retry-After\`.`,
    `The answer is kept for ${inWords(retentionMs)}${marker === false ? '' : ` and replayed with \`${marker}: true\``}; ${after}.`,
    ...(anonymous ? ['All callers share one set of keys, so a key must be impossible to guess.'] : []),
    required ? 'A request without a key is refused with 400.' : 'A request without a key is not protected.',
  ].join('\n')
}

const exampleKey = '6f1f0c1e-8a0b-4c53-9f0e-1d2b7c3a4e5f'

/** The header parameter that carries the key. */
export function keyParameter(operation: ProtectedOperation, version: OpenApiVersion): JsonObject {
  const { header, required, keyLengthMin, keyLengthMax } = operation
  const schema = { type: 'string', minLength: keyLengthMin, maxLength: keyLengthMax }
  const fits = exampleKey.length >= keyLengthMin && exampleKey.length <= keyLengthMax
  const head = { name: header, in: 'header', required, description: keyDescription(operation) }
  if (version === '2.0') return { ...head, ...schema, ...(fits ? { 'x-example': exampleKey } : {}) }
  return { ...head, schema, ...(fits ? { example: exampleKey } : {}) }
}

function headerObject(version: OpenApiVersion, description: string, schema: JsonObject): JsonObject {
  return version === '2.0' ? { description, ...schema } : { description, schema }
}

/** The response field that marks a replay. */
export function markerHeader(version: OpenApiVersion): JsonObject {
  const description = 'Present when the answer is the stored one of an earlier request with the same key.'
  return headerObject(version, description, { type: 'string', enum: ['true'] })
}

/** The problem document (RFC 9457) of every refusal. */
export function problemSchema(): JsonObject {
  return {
    type: 'object',
    description: 'A problem document (RFC 9457) about the idempotency key.',
    required: ['type', 'title', 'status', 'detail', 'code'],
    properties: {
      type: { type: 'string', format: 'uri', description: 'Page that explains the problem.' },
      title: { type: 'string' },
      status: { type: 'integer' },
      detail: { type: 'string' },
      code: { type: 'string', description: 'Stable name of the problem.', enum: refusalCodes() },
    },
  }
}

interface Refusal {
  /** As answers carry it, where several situations have one code. */
  readonly code?: string
  /** When it is sent, and what a client does then. */
  readonly when: string
  readonly retryAfter?: true
}

/** Situations in which a request is refused; those of one code differ in what a client does. */
export type RefusalName =
  | 'key-missing'
  | 'key-malformed'
  | 'key-reused'
  | 'key-expired'
  | 'in-progress'
  | 'outcome-unknown'
  | 'outcome-not-stored'
  | 'outcome-unreadable'
  | 'request-too-large'
  | 'store-unavailable'
  | 'closed'

const refusals: Readonly<Record<RefusalName, Refusal>> = {
  'key-missing': { when: 'the operation requires a key and the request has none' },
  'key-malformed': { when: 'the key breaks a rule of its syntax' },
  'key-reused': { when: 'the key was used before for a different request; use a new key for a new request' },
  'key-expired': { when: 'the outcome of the key is no longer kept, and it does not run again' },
  'in-progress': {
    when: 'the first request with the key is still running; send it again, with the same key',
    retryAfter: true,
  },
  'outcome-unknown': {
    when: 'the outcome of an earlier attempt is unknown; do not send it under a new key',
  },
  'outcome-not-stored': {
    code: 'outcome-unknown',
    when: 'the request may have taken effect, but its outcome could not be stored; send it again, with the same key',
    retryAfter: true,
  },
  'outcome-unreadable': { when: 'the stored outcome cannot be read; the operation is not run again' },
  'request-too-large': { when: 'the body is over the limit for a request with a key' },
  'store-unavailable': {
    when: 'the request was not run, because the store of keys cannot be reached; send it again',
    retryAfter: true,
  },
  closed: { when: 'the request was not run, because the service is ending; send it again', retryAfter: true },
}

function codeOf(name: RefusalName): string {
  return refusals[name].code ?? name
}

/** The stable codes of all refusals. */
function refusalCodes(): string[] {
  return [...new Set((Object.keys(refusals) as RefusalName[]).map(codeOf))]
}

/** Which refusals come with which status, by the options of the layer. Statuses in ascending order. */
export function refusalsByStatus(operation: ProtectedOperation): ReadonlyMap<string, readonly RefusalName[]> {
  const { required, tombstoneMs, statuses } = operation
  const rows: readonly (readonly [number, RefusalName])[] = [
    ...(required ? [[400, 'key-missing'] as const] : []),
    [400, 'key-malformed'],
    [statuses.inProgress, 'in-progress'],
    [statuses.unknown, 'outcome-unknown'],
    [statuses.mismatch, 'key-reused'],
    ...(tombstoneMs > 0 ? [[statuses.expired, 'key-expired'] as const] : []),
    [413, 'request-too-large'],
    [503, 'store-unavailable'],
    [503, 'outcome-not-stored'],
    [503, 'outcome-unreadable'],
    [503, 'closed'],
  ]
  const byStatus = new Map<string, RefusalName[]>()
  for (const [status, name] of rows.toSorted(([one], [other]) => one - other)) {
    byStatus.set(String(status), [...(byStatus.get(String(status)) ?? []), name])
  }
  return byStatus
}

/**
 * The response for one status.
 *
 * @param schema the problem schema, or a reference to it
 */
export function refusalResponse(
  names: readonly RefusalName[],
  schema: JsonObject,
  version: OpenApiVersion,
): JsonObject {
  const retryAfter = names.some((name) => refusals[name].retryAfter === true)
  const description = [
    'Refused because of the idempotency key:',
    '',
    ...names.map((name) => `- \`${codeOf(name)}\`: ${refusals[name].when}.`),
  ].join('\n')
  const seconds = headerObject(version, 'Seconds to wait before the same request is sent again.', {
    type: 'integer',
    minimum: 1,
  })
  return {
    description,
    ...(retryAfter ? { headers: { 'Retry-After': seconds } } : {}),
    ...(version === '2.0' ? { schema } : { content: { [problemMediaType]: { schema } } }),
  }
}
