import { randomUUID } from 'node:crypto'
import type { Step } from './cases.ts'
import type { WireRequest } from './client.ts'
import type { HeaderField } from './response-reader.ts'

/** The principal of a step that names none, and of the harness's own probes. */
export const defaultPrincipal = 'judge'

const keyField = 'Idempotency-Key'
const symbolPattern = /\{([A-Z])(?:\*([0-9]+))?\}/g

/** One fresh UUID per key symbol, for one run of one case. */
export class KeySymbols {
  readonly #values = new Map<string, string>()

  value(symbol: string): string {
    const value = this.#values.get(symbol) ?? randomUUID()
    this.#values.set(symbol, value)
    return value
  }

  /** `text` with `{A}` replaced by the UUID of A, and `{A*N}` by that UUID padded to N characters. */
  fill(text: string): string {
    return text.replace(symbolPattern, (_match, symbol: string, length?: string) =>
      length === undefined
        ? this.value(symbol)
        : this.value(symbol).padEnd(Number(length), 'x').slice(0, Number(length)),
    )
  }

  /** The UUIDs that occur in `headers`. */
  usedIn(headers: readonly HeaderField[]): string[] {
    return [...this.#values.values()].filter((uuid) => headers.some(([, value]) => value.includes(uuid)))
  }
}

/** What a step needs besides its own members. */
export interface RequestContext {
  readonly symbols: KeySymbols
  readonly bodies: Readonly<Record<string, string>>
  /** The `id` in the answer of step `number` (from 1), where there is one. */
  idOfStep(number: number): string | undefined
}

/** The wire form of a request step. */
export function requestOfStep(step: Step, context: RequestContext): WireRequest {
  const method = step.m ?? 'POST'
  const content = contentOf(step, context)
  const headers = Object.entries(step.h ?? {}).map(
    ([name, value]): HeaderField => [name, context.symbols.fill(value)],
  )
  const given = new Set(headers.map(([name]) => name.toLowerCase()))
  const add = (name: string, value: string): void => {
    if (!given.has(name.toLowerCase())) headers.push([name, value])
  }
  add('Accept', '*/*')
  // A browser's preflight carries no credentials.
  if (step.auth !== null && method !== 'OPTIONS')
    add('Authorization', `Bearer ${step.auth ?? defaultPrincipal}`)
  if (content !== undefined) add('Content-Type', content.mediaType)
  if (step.do !== undefined) add('Fixture-Do', step.do)
  for (const value of keyValues(step, context.symbols)) headers.push([keyField, value])
  return {
    method,
    target: (step.p ?? '/charges').replace(/\{id([0-9]+)\}/g, (_match, number: string) =>
      encodeURIComponent(context.idOfStep(Number(number)) ?? 'none'),
    ),
    headers,
    body: content?.octets ?? Buffer.alloc(0),
    chunked: headers.some(
      ([name, value]) => name.toLowerCase() === 'transfer-encoding' && value === 'chunked',
    ),
    half: step.half === true,
    hold: step.hold === true,
    ...(step.abort === undefined ? {} : { abortMs: step.abort }),
  }
}

/** A charge with a key of its own, to read the counter where no `/effects` is. */
export function probeRequest(): WireRequest {
  const step: Step = { kraw: `"${randomUUID()}"`, raw: '{"probe":true}' }
  return requestOfStep(step, { symbols: new KeySymbols(), bodies: {}, idOfStep: () => undefined })
}

function keyValues(step: Step, symbols: KeySymbols): string[] {
  if (step.k !== undefined) return [`"${symbols.value(step.k)}"`]
  if (step.kraw !== undefined) return [symbols.fill(step.kraw)]
  return (step.klines ?? []).map((line) => symbols.fill(line))
}

function contentOf(step: Step, context: RequestContext): { mediaType: string; octets: Buffer } | undefined {
  if (step.parts !== undefined) {
    const boundary = step.bnd ?? 'boundary'
    const mediaType = `multipart/form-data; boundary=${boundary}`
    return { mediaType, octets: Buffer.from(multipart(step.parts, boundary), 'utf8') }
  }
  const text = step.b === undefined ? step.raw : context.bodies[step.b]
  if (text === undefined) return undefined
  const octets = Buffer.from(
    text.replace(/\{([^{}*]+)\*([0-9]+)\}/g, (_match, unit: string, count: string) =>
      unit.repeat(Number(count)),
    ),
  )
  return { mediaType: step.ct ?? 'application/json', octets }
}

function multipart(parts: NonNullable<Step['parts']>, boundary: string): string {
  const sections = parts.map(
    ([name, filename, content]) =>
      `--${boundary}\r\nContent-Disposition: form-data; name="${name}"; filename="${filename}"\r\n` +
      `Content-Type: text/plain\r\n\r\n${content}\r\n`,
  )
  return `${sections.join('')}--${boundary}--\r\n`
}
