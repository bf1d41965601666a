/** One operation of a document, told what its layer does; what its author wrote stays as it is. */
import { isObject, isSame, type JsonObject, listAt, objectAt, withMember } from './json.ts'
import { isReferenceToKey } from './key-use.ts'
import type { ProtectedOperation } from './protected-operation.ts'
import { resolve } from './references.ts'
import {
  extensionName,
  extensionOf,
  keyParameter,
  markerHeader,
  problemMediaType,
  problemSchema,
  refusalResponse,
  refusalsByStatus,
} from './terms.ts'
import type { OpenApiVersion } from './version.ts'

/** Where parts go that several operations share: into the operation itself, or into the document's components. */
export interface Shelf {
  parameter(parameter: JsonObject): JsonObject
  response(status: string, response: JsonObject): JsonObject
  header(name: string, header: JsonObject): JsonObject
  problemSchema(schema: JsonObject): JsonObject
}

const inline: Shelf = {
  parameter: (parameter) => parameter,
  response: (_, response) => response,
  header: (_, header) => header,
  problemSchema: (schema) => schema,
}

export interface OperationPlace {
  readonly version: OpenApiVersion
  /** In which `$ref`s are followed. */
  readonly document?: JsonObject | undefined
  /** Parameters of the path item, which are the operation's too. */
  readonly inherited?: readonly unknown[]
  readonly shelf?: Shelf
}

/**
 * An operation object with what its layer does: the header parameter, the refusals, the field that marks a replay
 * and `x-idempotency`. What is there stays: an own header parameter, an own response of the same status (its
 * description is joined, `application/problem+json` comes beside its media types), and whatever a `$ref` names.
 * `x-idempotency: false` leaves the whole operation as it is. Done twice, it changes nothing more.
 *
 * @param operation an operation object of OpenAPI 3.0, 3.1, 3.2 or Swagger 2.0; it is not changed
 * @param protection what `descriptionOf(layer)` gives
 * @param version default `'3.1'`
 * @param document the document around it, in which `$ref`s are followed
 * @example
 * documentOperation({ responses: { 201: { description: 'Made.' } } }, descriptionOf(layer), '3.1')
 */
export function documentOperation<Operation extends object>(
  operation: Operation,
  protection: ProtectedOperation,
  version: OpenApiVersion = '3.1',
  document?: object,
): Operation {
  const place = { version, document: document as JsonObject | undefined }
  return documentedOperation(operation as unknown as JsonObject, protection, place) as unknown as Operation
}

/** As `documentOperation`, for an operation whose place in its document is known. */
export function documentedOperation(
  operation: JsonObject,
  protection: ProtectedOperation,
  place: OperationPlace,
): JsonObject {
  const own = operation[extensionName]
  if (own === false) return operation
  const extension = { ...extensionOf(protection), ...(isObject(own) ? own : {}) }
  const made = withParameter(operation, protection, place)
  const told = withMember(made, 'responses', responsesOf(made, protection, place))
  return isSame(own, extension) ? told : withMember(told, extensionName, extension)
}

/** Whether a parameter, or what it refers to, is the header of this name. Of what is outside, its name must do. */
export function isHeaderNamed(document: JsonObject | undefined, parameter: unknown, name: string): boolean {
  const resolved = resolve(document, parameter)
  if (resolved.kind === 'external') return isReferenceToKey(resolved.reference)
  if (resolved.kind !== 'value' || !isObject(resolved.value)) return false
  const { in: where, name: given } = resolved.value
  return where === 'header' && typeof given === 'string' && given.toLowerCase() === name.toLowerCase()
}

function withParameter(
  operation: JsonObject,
  protection: ProtectedOperation,
  place: OperationPlace,
): JsonObject {
  const { document, version, inherited = [], shelf = inline } = place
  const own = listAt(operation, 'parameters')
  if ([...own, ...inherited].some((one) => isHeaderNamed(document, one, protection.header))) return operation
  const parameter = shelf.parameter(keyParameter(protection, version))
  // Without the document a reference cannot be followed; the same one is not written twice.
  if (own.some((one) => isSame(one, parameter))) return operation
  return withMember(operation, 'parameters', [...own, parameter])
}

function responsesOf(
  operation: JsonObject,
  protection: ProtectedOperation,
  place: OperationPlace,
): JsonObject {
  const { version, shelf = inline } = place
  const { marker } = protection
  const before = objectAt(operation, 'responses')
  const refusals = [...refusalsByStatus(protection)].map(([status, names]) => {
    const schema = shelf.problemSchema(problemSchema())
    return [status, refusalResponse(names, schema, version)] as const
  })
  const replayed = (status: string, response: JsonObject): boolean =>
    isReplayable(status) && !refusals.some(([of, refusal]) => of === status && isSame(response, refusal))

  let responses = before
  if (marker !== false) {
    const header = shelf.header(marker, markerHeader(version))
    for (const [status, response] of Object.entries(before)) {
      if (!isObject(response) || '$ref' in response || !replayed(status, response)) continue
      responses = withMember(responses, status, withHeaders(response, { [marker]: header }))
    }
  }
  for (const [status, refusal] of refusals) {
    const response = responses[status]
    if (response === undefined) {
      responses = withMember(responses, status, shelf.response(status, refusal))
    } else if (isObject(response) && !('$ref' in response)) {
      responses = withMember(responses, status, joined(response, refusal, version))
    }
  }
  return isSame(responses, before) && 'responses' in operation ? before : responses
}

/** Statuses of handlers that invite another try: such an answer is never stored, so it is never a replay. */
const neverStored: ReadonlySet<string> = new Set([401, 403, 407, 408, 421, 423, 425, 428, 429].map(String))

function isReplayable(status: string): boolean {
  return /^[234](?:\d\d|XX)$/i.test(status) && !neverStored.has(status)
}

function withHeaders(response: JsonObject, headers: JsonObject): JsonObject {
  const own = objectAt(response, 'headers')
  const known = new Set(Object.keys(own).map((name) => name.toLowerCase()))
  const missing = Object.entries(headers).filter(([name]) => !known.has(name.toLowerCase()))
  return missing.length === 0
    ? response
    : withMember(response, 'headers', { ...own, ...Object.fromEntries(missing) })
}

/** The author's response, which the layer's refusals of the same status join. */
function joined(own: JsonObject, refusal: JsonObject, version: OpenApiVersion): JsonObject {
  const said = typeof own['description'] === 'string' ? own['description'] : ''
  const added = refusal['description'] as string
  const description = said.includes(added) ? said : said === '' ? added : `${said.trimEnd()}\n\n${added}`
  const told = withHeaders(withMember(own, 'description', description), objectAt(refusal, 'headers'))
  if (version === '2.0') {
    // There is one schema for a status, whatever its media type.
    return 'schema' in told ? told : withMember(told, 'schema', refusal['schema'])
  }
  const content = objectAt(told, 'content')
  if (Object.keys(content).some(isProblemMediaType)) return told
  return withMember(told, 'content', { ...content, ...objectAt(refusal, 'content') })
}

/** Whether a media type, in any case and with any parameters, is that of problem documents. */
export function isProblemMediaType(mediaType: string): boolean {
  return mediaType.split(';')[0]?.trim().toLowerCase() === problemMediaType
}
