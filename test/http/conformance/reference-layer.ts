import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { fingerprintOf, parseKey, recordId } from './reference-request.ts'
import type { Fault, GuardedRequest, HasFault } from './reference-request.ts'

/** A response before it is written. */
export interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  /** Chunks to write 100 ms apart without a length; 0 writes the body at once. */
  readonly streamedChunks: number
  readonly replayed?: boolean
}

/** How the reference server is configured. */
export interface ReferenceOptions {
  readonly required?: boolean
  readonly strict?: boolean
  readonly tombstones?: boolean
  readonly store5xx?: boolean
  readonly gateway?: boolean
  readonly onCrash?: 'rerun' | 'reject'
  /** Claim, effect and outcome become visible together, at the end of the run. */
  readonly transaction?: boolean
  readonly resultOctetsMax?: number
  /** File for the records; without it they live in memory. */
  readonly recordsFile?: string
  readonly fault?: Fault
}

interface ReferenceRecord {
  fingerprint: string
  phase: 'running' | 'completed' | 'unknown'
  leaseUntil: number
  expiresAt: number
  refused: boolean
  reply?: Reply
}

/** A request with what the layer needs from the server around it. */
export interface LayerCall extends GuardedRequest {
  readonly principal: string
  readonly instance: number
  readonly corsHeaders: Readonly<Record<string, string>>
  readBody(): Promise<Buffer>
  /** Whether the client has gone. */
  gone(): boolean
}

/** The upstream of the gateway broke off; whether it did the work is not known. */
export class UpstreamGone extends Error {}

const retentionMs = 2000
const leaseMs = 1000
const neverKept = new Set([401, 403, 408, 421, 423, 425, 428, 429])
const notReplayed = new Set(['set-cookie', 'connection', 'x-hop', 'age'])

/** The idempotency layer of the reference server: small, in memory, and right unless told otherwise. */
export class ReferenceLayer {
  storeDown = false
  readonly #options: ReferenceOptions
  readonly #records = new Map<string, ReferenceRecord>()
  readonly #has: HasFault

  constructor(options: ReferenceOptions) {
    this.#options = options
    this.#has = (fault) => options.fault === fault
    if (options.recordsFile !== undefined && !this.#has('restart-forgets')) this.#load(options.recordsFile)
  }

  async handle(call: LayerCall, handler: () => Promise<Reply>): Promise<Reply> {
    const has = this.#has
    const parsed = parseKey(call, this.#options.strict !== true, has)
    if (parsed.kind === 'malformed') return this.#problem(400, 'key-malformed')
    if (parsed.kind === 'absent' && this.#options.required === true && !has('not-required'))
      return this.#problem(400, 'key-missing')
    if (this.storeDown)
      return has('fails-open') ? handler() : this.#problem(503, 'store-unavailable', { 'retry-after': '1' })
    const body = await call.readBody()
    if (has('patch-unguarded') && call.method === 'PATCH') return handler()
    if (has('empty-body-unguarded') && body.length === 0) return handler()
    const fingerprint = fingerprintOf(call, body, has)
    if (parsed.kind === 'absent' && !has('key-from-body')) return handler()
    const key = parsed.kind === 'key' ? parsed.key : fingerprint
    const id = recordId(call, call.principal, key, has) + (has('split-stores') ? ` ${call.instance}` : '')
    return (await this.#refusalOrReplay(id, fingerprint, key)) ?? this.#run(id, fingerprint, call, handler)
  }

  /** `undefined` when the caller is to run. */
  async #refusalOrReplay(id: string, fingerprint: string, key: string): Promise<Reply | undefined> {
    const has = this.#has
    const record = this.#records.get(id)
    if (has('slow-claim')) await delay(5)
    if (record === undefined) return undefined
    const expired = record.phase === 'completed' && Date.now() > record.expiresAt && !has('never-expires')
    if (expired) return this.#options.tombstones === true ? this.#problem(422, 'key-expired') : undefined
    if (record.fingerprint !== fingerprint && !has('no-mismatch')) {
      if (has('mismatch-overwrites')) record.fingerprint = fingerprint
      return this.#problem(422, 'key-reused', has('key-in-errors') ? { detail: key } : {})
    }
    if (record.phase === 'running' && Date.now() >= record.leaseUntil && !has('crash-locks')) {
      if (this.#options.onCrash === 'rerun' || has('crash-reruns') || has('no-renewal')) return undefined
      return this.#problem(409, 'outcome-unknown')
    }
    if (record.phase === 'running') {
      record.refused = true
      return this.#problem(409, 'in-progress', has('no-retry-after') ? {} : { 'retry-after': '1' })
    }
    if (record.phase === 'unknown' || record.reply === undefined) return this.#problem(409, 'outcome-unknown')
    return { ...record.reply, streamedChunks: 0, replayed: true }
  }

  async #run(
    id: string,
    fingerprint: string,
    call: LayerCall,
    handler: () => Promise<Reply>,
  ): Promise<Reply> {
    const has = this.#has
    const record: ReferenceRecord = {
      fingerprint,
      phase: 'running',
      leaseUntil: Date.now() + leaseMs,
      expiresAt: 0,
      refused: false,
    }
    // What a transaction wrote is nowhere once its process is gone.
    if (this.#options.transaction === true && !has('claim-apart')) this.#records.set(id, record)
    else this.#put(id, record)
    const renewal = setInterval(() => {
      if (!has('no-renewal')) record.leaseUntil = Date.now() + leaseMs
    }, leaseMs / 4)
    try {
      const reply = await this.#runHandler(record, handler)
      if (has('completion-gap')) {
        this.#records.delete(id)
        await delay(400)
      }
      if (this.#keeps(reply, call)) {
        record.phase = record.phase === 'unknown' ? 'unknown' : 'completed'
        record.expiresAt = Date.now() + retentionMs
        record.reply = this.#stored(reply, record, call)
        this.#put(id, record)
      } else if (!has('stuck-after-failure')) {
        this.#drop(id)
      }
      return reply
    } finally {
      clearInterval(renewal)
    }
  }

  async #runHandler(record: ReferenceRecord, handler: () => Promise<Reply>): Promise<Reply> {
    try {
      return await handler()
    } catch (error) {
      if (!(error instanceof UpstreamGone)) return jsonReply(500, { error: 'internal' })
      if (this.#has('resends')) return handler()
      record.phase = 'unknown'
      return this.#problem(502, 'upstream-failed')
    }
  }

  #keeps({ status, body }: Reply, call: LayerCall): boolean {
    const has = this.#has
    if (has('forgets') || (has('abort-releases') && call.gone())) return false
    if (has('drops-large') && body.length > (this.#options.resultOctetsMax ?? Number.POSITIVE_INFINITY))
      return false
    if (status === 502 && this.#options.gateway === true) return true
    if (status >= 500) return (this.#options.store5xx === true && !has('drops-5xx')) || has('stores-5xx')
    if (status >= 400 && has('drops-4xx')) return false
    return !neverKept.has(status) || (status === 429 && has('stores-429'))
  }

  #stored(reply: Reply, record: ReferenceRecord, call: LayerCall): Reply {
    const has = this.#has
    if (has('stores-refusal') && record.refused) return this.#problem(409, 'in-progress')
    const octetsMax = this.#options.resultOctetsMax ?? Number.POSITIVE_INFINITY
    if (reply.body.length > octetsMax) {
      return has('cuts-large')
        ? { ...reply, body: reply.body.subarray(0, octetsMax) }
        : this.#problem(409, 'result-too-large')
    }
    const kept = Object.entries(reply.headers).filter(([name]) => {
      if (has('drops-app-fields') && name === 'x-app') return false
      return !notReplayed.has(name) || (has('replays-set-cookie') && name === 'set-cookie')
    })
    return {
      ...reply,
      status: has('replays-as-200') ? 200 : reply.status,
      headers: { ...Object.fromEntries(kept), ...(has('stored-cors') ? call.corsHeaders : {}) },
      body: has('utf8-body') ? Buffer.from(reply.body.toString('utf8')) : reply.body,
    }
  }

  #problem(status: number, code: string, extra: { detail?: string; 'retry-after'?: string } = {}): Reply {
    const has = this.#has
    const { detail, ...headers } = extra
    const problem = {
      type: 'about:blank',
      status: has('wrong-problem-status') ? 500 : status,
      code: has('wrong-code') ? 'error' : code,
      ...(detail === undefined ? {} : { detail }),
    }
    const reply = jsonReply(status, problem)
    const type = has('plain-errors') ? 'application/json' : 'application/problem+json'
    return { ...reply, headers: { 'cache-control': 'no-store', ...headers, 'content-type': type } }
  }

  #put(id: string, record: ReferenceRecord): void {
    this.#records.set(id, record)
    this.#save()
  }

  #drop(id: string): void {
    this.#records.delete(id)
    this.#save()
  }

  #save(): void {
    const file = this.#options.recordsFile
    if (file === undefined) return
    const rows = [...this.#records].map(([id, { reply, ...record }]) => [
      id,
      {
        ...record,
        ...(reply === undefined ? {} : { reply: { ...reply, body: reply.body.toString('base64') } }),
      },
    ])
    writeFileSync(file, JSON.stringify(rows))
  }

  #load(file: string): void {
    let text = '[]'
    try {
      text = readFileSync(file, 'utf8')
    } catch {
      // The first start finds no file.
    }
    for (const [id, { reply, ...record }] of JSON.parse(text) as [string, ReferenceRecord][]) {
      const restored =
        reply === undefined
          ? record
          : { ...record, reply: { ...reply, body: Buffer.from(String(reply.body), 'base64') } }
      this.#records.set(id, restored)
    }
  }
}

/** A JSON response. */
export function jsonReply(status: number, value: object, headers: Record<string, string> = {}): Reply {
  return {
    status,
    headers: { 'content-type': 'application/json', ...headers },
    body: Buffer.from(JSON.stringify(value)),
    streamedChunks: 0,
  }
}
