/**
 * What stands in front of a function that answers HTTP: it turns requests into events and results into answers, by
 * the rules that AWS documents for payload formats 1.0 and 2.0 and for load balancers, as local emulators do.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type {
  ALBEvent,
  APIGatewayProxyEvent,
  APIGatewayProxyEventV2,
  APIGatewayProxyStructuredResultV2,
} from 'aws-lambda'

export type EventFormat = 'v1' | 'v2' | 'alb' | 'alb-lists'

/** What any of the three formats may answer with. */
type Result = APIGatewayProxyStructuredResultV2 & { multiValueHeaders?: Record<string, unknown[]> }

/** Serves a function. What it throws is answered as the host does: 502, or 500 in format 2.0. */
export function hostOf(
  format: EventFormat,
  invoke: (event: never, request: IncomingMessage) => Promise<unknown>,
): RequestListener {
  return async (request, response) => {
    const pieces: Buffer[] = []
    try {
      for await (const piece of request) pieces.push(piece as Buffer)
    } catch {
      return
    }
    const event = eventOf(format, request, Buffer.concat(pieces))
    try {
      const result: unknown = await invoke(event as never, request)
      // A runtime hands the result on as JSON.
      answer(format, response, JSON.parse(JSON.stringify(result ?? null)))
    } catch {
      refuse(format, response)
    }
  }
}

function eventOf(format: EventFormat, request: IncomingMessage, body: Buffer): object {
  switch (format) {
    case 'v2':
      return eventV2(request, body)
    case 'v1':
      return eventV1(request, body)
    case 'alb':
    case 'alb-lists':
      return eventAlb(request, body, format === 'alb-lists')
    default:
      return format satisfies never
  }
}

function targetOf(request: IncomingMessage): URL {
  return new URL(request.url ?? '/', 'http://localhost')
}

/** A body is handed on as base64 unless it is text by its media type. */
function bodyOf(request: IncomingMessage, body: Buffer): { body: string; isBase64Encoded: boolean } {
  const isText = /^(?:text\/|application\/(?:[\w.+-]*json|xml|javascript))/.test(
    request.headers['content-type'] ?? '',
  )
  const isPlain = isText && request.headers['content-encoding'] === undefined
  return { body: body.toString(isPlain ? 'utf8' : 'base64'), isBase64Encoded: !isPlain }
}

function listsOf(request: IncomingMessage): Record<string, string[]> {
  const lists: Record<string, string[]> = {}
  for (let at = 0; at < request.rawHeaders.length; at += 2) {
    const name = request.rawHeaders[at] as string
    lists[name] = [...(lists[name] ?? []), request.rawHeaders[at + 1] as string]
  }
  return lists
}

export function eventV2(request: IncomingMessage, body: Buffer): APIGatewayProxyEventV2 {
  const { pathname, search } = targetOf(request)
  const headers: Record<string, string> = {}
  for (const [name, values] of Object.entries(listsOf(request))) {
    const key = name.toLowerCase()
    headers[key] = [...(headers[key] === undefined ? [] : [headers[key]]), ...values].join(',')
  }
  const method = request.method ?? 'GET'
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath: pathname,
    rawQueryString: search.slice(1),
    headers,
    requestContext: {
      accountId: '123456789012',
      apiId: 'api-id',
      domainName: 'id.execute-api.eu-central-1.amazonaws.com',
      domainPrefix: 'id',
      http: { method, path: pathname, protocol: 'HTTP/1.1', sourceIp: '127.0.0.1', userAgent: 'test' },
      requestId: 'id',
      routeKey: '$default',
      stage: '$default',
      time: '12/Mar/2020:19:03:58 +0000',
      timeEpoch: 1583348638390,
    },
    ...(body.length === 0 ? { isBase64Encoded: false } : bodyOf(request, body)),
  }
}

export function eventV1(request: IncomingMessage, body: Buffer): APIGatewayProxyEvent {
  const { pathname, searchParams } = targetOf(request)
  const multiValueHeaders = listsOf(request)
  const lists: Record<string, string[]> = {}
  for (const [name, value] of searchParams) lists[name] = [...(lists[name] ?? []), value]
  const hasQuery = Object.keys(lists).length > 0
  return {
    resource: '/{proxy+}',
    path: pathname,
    httpMethod: request.method ?? 'GET',
    headers: lastOf(multiValueHeaders),
    multiValueHeaders,
    queryStringParameters: hasQuery ? lastOf(lists) : null,
    multiValueQueryStringParameters: hasQuery ? lists : null,
    pathParameters: { proxy: pathname.slice(1) },
    stageVariables: null,
    requestContext: { authorizer: null } as unknown as APIGatewayProxyEvent['requestContext'],
    ...(body.length === 0 ? { body: null, isBase64Encoded: false } : bodyOf(request, body)),
  }
}

function eventAlb(request: IncomingMessage, body: Buffer, lists: boolean): ALBEvent {
  const { pathname, searchParams } = targetOf(request)
  const parameters: Record<string, string[]> = {}
  for (const [name, value] of searchParams) {
    parameters[encodeURIComponent(name)] = [encodeURIComponent(value)]
  }
  const lower: Record<string, string[]> = {}
  for (const [name, values] of Object.entries(listsOf(request))) {
    lower[name.toLowerCase()] = [...(lower[name.toLowerCase()] ?? []), ...values]
  }
  return {
    requestContext: {
      elb: { targetGroupArn: 'arn:aws:elasticloadbalancing:eu-central-1:1:targetgroup/a/b' },
    },
    httpMethod: request.method ?? 'GET',
    path: pathname,
    ...(lists
      ? { multiValueHeaders: lower, multiValueQueryStringParameters: parameters }
      : { headers: lastOf(lower), queryStringParameters: lastOf(parameters) }),
    ...(body.length === 0 ? { body: '', isBase64Encoded: false } : bodyOf(request, body)),
  }
}

function lastOf(lists: Record<string, string[]>): Record<string, string> {
  return Object.fromEntries(Object.entries(lists).map(([name, values]) => [name, values.at(-1) as string]))
}

function answer(format: EventFormat, response: ServerResponse, result: unknown): void {
  const isStructured = typeof result === 'object' && result !== null && 'statusCode' in result
  if (format === 'v2' && !isStructured) {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(result))
    return
  }
  if (!isStructured) return refuse(format, response)
  const { statusCode, body = '', isBase64Encoded = false, ...fields } = result as Result
  if (typeof body !== 'string') return refuse(format, response)
  const status = Number(statusCode)
  const octets = Buffer.from(body, isBase64Encoded ? 'base64' : 'utf8')
  for (const [name, values] of linesOf(format, fields)) response.setHeader(name, values)
  const isBodiless = status === 204 || status === 304
  if (!isBodiless) response.setHeader('content-length', octets.length)
  response.writeHead(status).end(isBodiless ? undefined : octets)
}

function linesOf(format: EventFormat, result: Omit<Result, 'body'>): Map<string, string[]> {
  const { headers = {}, multiValueHeaders = {}, cookies = [] } = result
  const lines = new Map<string, string[]>()
  const readsSingle = format !== 'alb-lists'
  const readsLists = format === 'v1' || format === 'alb-lists'
  if (readsSingle)
    for (const [name, value] of Object.entries(headers)) lines.set(name.toLowerCase(), [String(value)])
  if (readsLists) {
    for (const [name, values] of Object.entries(multiValueHeaders)) {
      const merged = new Set([...(lines.get(name.toLowerCase()) ?? []), ...values.map(String)])
      lines.set(name.toLowerCase(), [...merged])
    }
  }
  if (format === 'v2' && cookies.length > 0) lines.set('set-cookie', [...cookies])
  return lines
}

function refuse(format: EventFormat, response: ServerResponse): void {
  response.writeHead(format === 'v2' ? 500 : 502, { 'content-type': 'application/json' })
  response.end('{"message":"Internal Server Error"}')
}
