/** What the protocol needs of an event that stands for an HTTP request. */
import { InvalidOptionError } from '../core/errors.ts'

type Texts = Readonly<Record<string, string | undefined>>
type TextLists = Readonly<Record<string, readonly string[] | undefined>>

/** Payload format 1.0: REST and HTTP APIs of API Gateway, and load balancers. */
export interface ApiEventV1 {
  readonly httpMethod: string
  readonly path: string
  /** The route's pattern; load balancers have none. */
  readonly resource?: string | undefined
  readonly headers?: Texts | null | undefined
  readonly multiValueHeaders?: TextLists | null | undefined
  readonly queryStringParameters?: Texts | null | undefined
  readonly multiValueQueryStringParameters?: TextLists | null | undefined
  readonly requestContext: object
  readonly body: string | null
  readonly isBase64Encoded: boolean
}

/** Payload format 2.0: HTTP APIs of API Gateway, and function URLs. */
export interface ApiEventV2 {
  readonly rawPath: string
  readonly rawQueryString: string
  readonly headers: Texts
  readonly requestContext: { readonly http: { readonly method: string } }
  readonly routeKey: string
  readonly body?: string | null | undefined
  readonly isBase64Encoded: boolean
}

/** An event of API Gateway (payload formats 1.0 and 2.0), of a function URL or of an application load balancer. */
export type ApiEvent = ApiEventV1 | ApiEventV2

/**
 * How the host reads an answer. `rest`: format 1.0. `balancer`: a load balancer with one value for a field.
 * `balancer-lists`: one with multi-value headers, which reads nothing else. `v2`: format 2.0.
 */
export type ApiHost = 'rest' | 'balancer' | 'balancer-lists' | 'v2'

/** The parts of a request. */
export interface ApiRequest {
  readonly host: ApiHost
  readonly method: string
  readonly path: string
  /** Without the `?`. Format 1.0 has lost its order and spelling: there it is made anew, by name. */
  readonly query: string
  readonly route: string | undefined
  readonly body: Uint8Array
  /** The lines of a field, whatever the case of its name. */
  lines(name: string): readonly string[]
}

/**
 * Reads an event.
 *
 * @throws InvalidOptionError when it is no event of an HTTP request
 */
export function readApiEvent(event: ApiEvent): ApiRequest {
  if (isV2(event)) return readV2(event)
  if (typeof event?.httpMethod === 'string' && typeof event.path === 'string') return readV1(event)
  const rule =
    'must come from API Gateway, a function URL or a load balancer; use idempotentHandler for others'
  throw new InvalidOptionError('event', rule)
}

function isV2(event: ApiEvent): event is ApiEventV2 {
  const given = event as { requestContext?: { http?: { method?: unknown } } } | null | undefined
  return typeof given?.requestContext?.http?.method === 'string'
}

function readV2(event: ApiEventV2): ApiRequest {
  const { rawPath, rawQueryString, headers, requestContext, routeKey, body, isBase64Encoded } = event
  return {
    host: 'v2',
    method: requestContext.http.method,
    path: rawPath,
    query: rawQueryString,
    route: /^\S+ (\/.*)$/.exec(routeKey)?.[1],
    body: octetsOf(body, isBase64Encoded),
    lines: (name) => linesOf(headers, name),
  }
}

function readV1(event: ApiEventV1): ApiRequest {
  const { httpMethod, path, resource, headers, multiValueHeaders, requestContext, body, isBase64Encoded } =
    event
  const fields = multiValueHeaders ?? headers ?? {}
  return {
    host: hostOf(requestContext, multiValueHeaders),
    method: httpMethod,
    path,
    query: queryOf(event.multiValueQueryStringParameters ?? event.queryStringParameters ?? {}),
    route: resource,
    body: octetsOf(body, isBase64Encoded),
    lines: (name) => linesOf(fields, name),
  }
}

function hostOf(requestContext: object, multiValueHeaders: TextLists | null | undefined): ApiHost {
  if (!('elb' in requestContext)) return 'rest'
  return multiValueHeaders === undefined || multiValueHeaders === null ? 'balancer' : 'balancer-lists'
}

function octetsOf(body: string | null | undefined, isBase64Encoded: boolean): Uint8Array {
  return Buffer.from(body ?? '', isBase64Encoded ? 'base64' : 'utf8')
}

function linesOf(fields: Texts | TextLists, name: string): readonly string[] {
  const lines: string[] = []
  for (const [given, value] of Object.entries(fields)) {
    if (value !== undefined && given.toLowerCase() === name) lines.push(...listOf(value))
  }
  return lines
}

function queryOf(parameters: Texts | TextLists): string {
  const pairs: string[] = []
  for (const name of Object.keys(parameters).toSorted()) {
    for (const value of listOf(parameters[name] ?? [])) {
      pairs.push(`${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    }
  }
  return pairs.join('&')
}

function listOf(value: string | readonly string[]): readonly string[] {
  return typeof value === 'string' ? [value] : value
}
