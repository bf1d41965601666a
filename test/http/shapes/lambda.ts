/** The shapes as a function behind a host that speaks HTTP. */
import { readFileSync } from 'node:fs'
import type { APIGatewayProxyEvent, APIGatewayProxyEventV2, APIGatewayProxyResult } from 'aws-lambda'
import type { Idempotency } from '../../../src/engine/idempotency.ts'
import { idempotentApi } from '../../../src/lambda/index.ts'
import {
  fidelityContent as content,
  type FidelityShapeName,
} from '../../../src/verification/http-fidelity.ts'
import { type EventFormat, hostOf } from '../../lambda/http-host.ts'
import { listenShapes } from './listen.ts'
import type { RunningShapes, ShapeState } from './server.ts'

type Event = APIGatewayProxyEvent | APIGatewayProxyEventV2

function jsonOf(value: unknown, statusCode = 200, headers: Record<string, string> = {}): object {
  return {
    statusCode,
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify(value),
  }
}

function base64Of(pieces: readonly Uint8Array[], headers: Record<string, string> = {}): object {
  return { statusCode: 200, headers, body: Buffer.concat(pieces).toString('base64'), isBase64Encoded: true }
}

const textType = { 'Content-Type': 'text/plain' }

/** The lines of a field in the way of each format. */
function listed(
  format: EventFormat,
  headers: Record<string, string>,
  name: string,
  values: string[],
): object {
  if (format !== 'v2') return { headers, multiValueHeaders: { [name]: values } }
  if (name === 'Set-Cookie') return { headers, cookies: values }
  return { headers: { ...headers, [name]: values.join(',') } }
}

/** A load balancer with multi-value headers reads no others. */
function inListsOnly(result: unknown): unknown {
  const { headers = {}, multiValueHeaders = {}, ...rest } = result as APIGatewayProxyResult
  const single = Object.entries(headers).map(([name, value]) => [name, [value]])
  return { ...rest, multiValueHeaders: { ...Object.fromEntries(single), ...multiValueHeaders } }
}

function resultsOf(format: EventFormat, file: string): Record<FidelityShapeName, () => unknown> {
  return {
    json: () => jsonOf(content.json, 201, { Location: '/charges/1' }),
    octets: () => base64Of([content.octets], { 'Content-Type': 'application/octet-stream' }),
    text: () => ({ statusCode: 200, headers: textType, body: content.text }),
    empty: () => ({ statusCode: 200, body: '' }),
    // Format 2.0 takes a value without a status for a 200 with JSON.
    null: () => (format === 'v2' ? null : jsonOf(null)),
    pieces: () => ({ statusCode: 200, body: content.pieces.join('') }),
    stream: () => base64Of(content.stream),
    head: () => ({
      statusCode: 202,
      ...listed(format, { 'X-One': '1', ...textType }, 'X-Twice', ['1', '2']),
      body: 'accepted',
    }),
    'no-content': () => ({ statusCode: 204 }),
    redirect: () => ({ statusCode: 303, headers: { Location: '/charges/1' } }),
    file: () => ({ statusCode: 200, headers: textType, body: readFileSync(file, 'utf8') }),
    cookies: () => ({
      ...jsonOf({}),
      ...listed(format, { 'Content-Type': 'application/json' }, 'Set-Cookie', ['a=1', 'b=2']),
    }),
    megabyte: () => base64Of(content.megabyte),
    declined: () => jsonOf(content.declined, 402),
    validator: () => jsonOf({}, 200, { ETag: '"1"', 'Cache-Control': 'private' }),
    'not-modified': () => ({ statusCode: 304, headers: { ETag: '"1"' } }),
    'event-stream': () => ({ statusCode: 200, body: content.events.join('') }),
    thrown() {
      throw new Error('boom')
    },
    'thrown-late'() {
      throw new Error('boom')
    },
  }
}

export function lambdaShapes(
  format: EventFormat,
): (idem: Idempotency, state: ShapeState, file: string) => Promise<RunningShapes> {
  return (idem, state, file) => {
    const results = resultsOf(format, file)
    const resultOf = (shape: string): unknown => {
      const result = results[shape as FidelityShapeName]()
      return format === 'alb-lists' ? inListsOnly(result) : result
    }
    const pathOf = (event: Event): string => ('rawPath' in event ? event.rawPath : event.path)
    const methodOf = (event: Event): string =>
      'rawPath' in event ? event.requestContext.http.method : event.httpMethod
    const shapeOf = (event: Event): string => pathOf(event).split('/')[2] as string
    const guarded = idempotentApi(idem, { principal: 'anonymous' }, async (event: Event) => {
      const shape = shapeOf(event)
      if (methodOf(event) === 'POST') state.ran(shape)
      if (shape !== 'gated') return resultOf(shape)
      await state.opened
      return jsonOf({ opened: true })
    })
    const context = { getRemainingTimeInMillis: () => 29_000 }
    const host = hostOf(format, async (event: Event): Promise<unknown> => {
      const path = pathOf(event)
      if (path === '/runs') return jsonOf(state.runs)
      if (path === '/open-gate') state.open()
      else if (path.startsWith('/keyed/')) return await guarded(event, context)
      else if (path.startsWith('/plain/')) return resultOf(shapeOf(event))
      return { statusCode: 200, body: '' }
    })
    return listenShapes(host)
  }
}
