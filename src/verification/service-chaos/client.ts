/**
 * One request on the wire, and what was seen of it. The client never tries again by itself, and it may be made to
 * go away before it has an answer.
 */
import { createHash } from 'node:crypto'
import * as http from 'node:http'
import * as https from 'node:https'
import type { Settings } from './settings.ts'

export interface Sending {
  readonly key: string
  readonly request: string
  readonly giveUp?: GiveUp | undefined
}

/** When the client goes away: so long after it began, after the request was sent, or after the head of the answer. */
export interface GiveUp {
  readonly after: 'start' | 'sent' | 'headers'
  readonly ms: number
}

export type Seen = Answer | { readonly kind: 'lost'; readonly code: string }

export interface Answer {
  readonly kind: 'answer'
  readonly status: number
  /** Of status and body: equal answers have equal digests. */
  readonly digest: string
  /** The answer says that it is a replay. */
  readonly replayed: boolean
  readonly retryAfter: boolean
  /** Of a problem document. */
  readonly code: string | undefined
  /** Whether a cut would have been seen: an answer that ends with its connection looks whole in any case. */
  readonly isWhole: boolean
}

export interface Client {
  send(sending: Sending): Promise<Seen>
  /** Ends connections that nobody uses, and all others. */
  close(): void
}

const answerBytesMax = 1024 * 1024

/** @param port of a proxy on the loopback, where requests shall go through one */
export function createClient(settings: Settings, port: number | undefined): Client {
  const { url, timeoutMs } = settings
  const transport = url.protocol === 'https:' ? https : http
  const agent = new transport.Agent({ keepAlive: true })
  const to = port === undefined ? {} : { host: '127.0.0.1', hostname: '127.0.0.1', port }

  return {
    send({ key, request, giveUp }): Promise<Seen> {
      const { promise, resolve } = Promise.withResolvers<Seen>()
      const timers: NodeJS.Timeout[] = []
      let isOver = false
      let isAnswered = false
      const body = filled(settings.body, key, request)
      const outgoing = transport.request(url, {
        ...to,
        agent,
        method: settings.method,
        headers: headersOf(settings, key, body),
        signal: settings.signal,
      })
      const end = (seen: Seen): void => {
        isOver = true
        for (const timer of timers) clearTimeout(timer)
        resolve(seen)
      }
      const leave = (code: string): void => {
        end({ kind: 'lost', code })
        outgoing.destroy()
      }
      const leaveAfter = (ms: number, code: string): void => {
        if (isOver) return
        if (ms === 0) leave(code)
        else timers.push(setTimeout(leave, ms, code))
      }
      const reached = (point: GiveUp['after']): void => {
        if (giveUp?.after === point) leaveAfter(giveUp.ms, 'given-up')
      }
      outgoing.on('error', (error) => end(lost(error)))
      // Closes also where an answer has come that is not read to its end.
      outgoing.on('close', () => isAnswered || end({ kind: 'lost', code: 'closed' }))
      outgoing.on('finish', () => reached('sent'))
      outgoing.on('response', (response) => {
        isAnswered = true
        reached('headers')
        read(response).then(end, (error: unknown) => end(lost(error)))
      })
      leaveAfter(timeoutMs, 'timeout')
      reached('start')
      outgoing.end(body)
      return promise
    },
    close: () => agent.destroy(),
  }
}

function headersOf(settings: Settings, key: string, body: string): Record<string, string> {
  const { url, headers, quotedKeys, keyHeader } = settings
  const given = new Set(Object.keys(headers).map((name) => name.toLowerCase()))
  return {
    ...(given.has('host') ? {} : { Host: url.host }),
    ...(given.has('content-type') || body === '' ? {} : { 'Content-Type': 'application/json' }),
    ...headers,
    'Content-Length': String(Buffer.byteLength(body)),
    [keyHeader]: quotedKeys ? `"${key}"` : key,
  }
}

function filled(template: string, key: string, request: string): string {
  return template.replaceAll('{key}', key).replaceAll('{request}', request)
}

function lost(error: unknown): Seen {
  const { code } = error as { code?: unknown }
  return { kind: 'lost', code: typeof code === 'string' ? code : 'failed' }
}

async function read(response: http.IncomingMessage): Promise<Seen> {
  const { statusCode: status = 0, headers } = response
  const hash = createHash('sha256').update(`${status}\n`)
  const pieces: Buffer[] = []
  let octets = 0
  for await (const piece of response as AsyncIterable<Buffer>) {
    const kept = piece.subarray(0, answerBytesMax - octets)
    hash.update(kept)
    pieces.push(kept)
    octets += kept.length
    if (octets === answerBytesMax) break
  }
  const hasEnd = octets === answerBytesMax || response.complete
  if (!hasEnd) return { kind: 'lost', code: 'incomplete' }
  return {
    kind: 'answer',
    status,
    digest: hash.digest('base64url'),
    replayed: headers['idempotent-replayed'] === 'true',
    retryAfter: headers['retry-after'] !== undefined,
    code: codeOf(headers['content-type'], Buffer.concat(pieces)),
    isWhole:
      headers['content-length'] !== undefined ||
      headers['transfer-encoding'] !== undefined ||
      status === 204 ||
      status === 304,
  }
}

function codeOf(mediaType: string | undefined, body: Buffer): string | undefined {
  if (!/^application\/problem\+json\b/i.test(mediaType ?? '')) return undefined
  try {
    const { code } = JSON.parse(body.toString()) as { code?: unknown }
    return typeof code === 'string' ? code : undefined
  } catch {
    return undefined
  }
}
