/**
 * A shop in a process of its own: Express, and the SQLite files of a folder. It charges on three routes:
 *
 *   /plain/charges           as most shops do: whatever arrives is charged
 *   /protected/charges       the charge commits together with the record of its key
 *   /protected/by-provider   the charge is made elsewhere, by one that is handed the fence
 *
 * The front that starts it can have it slow, standing still, or waiting to be killed at the worst moment.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { existsSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import express, { type NextFunction, type Request, type Response } from 'express'
import { createIdempotency, onEvent, type RecordId } from 'retrysafe'
import { idempotent, type RegisteredContext } from 'retrysafe/http/express'
import { type SqliteTx, sqliteStore } from 'retrysafe/stores/sqlite'
import type { ShopHappening } from '../happenings.ts'
import { ledgerFiles, openLedger, writeCharge } from './ledger.ts'
import { type FreezeMessage, type ShopMessage, type Trace, traceField } from './messages.ts'

declare module 'retrysafe' {
  interface Register {
    transaction: SqliteTx
  }
}

/** What the bank takes for a charge. */
const workMs = 250
/** Longer than the browser waits. */
const slowMs = 2_600
/** Where the front that should wake this process is gone. */
const frozenMsMax = 20_000

const files = ledgerFiles(process.argv[2] ?? '.')
const plainLedger = openLedger(files.without)
const providersLedger = openLedger(files.with)
const idem = createIdempotency({ store: sqliteStore({ file: files.with }) })

const { pid } = process
const traces = new AsyncLocalStorage<Trace>()
const holders = new Map<RecordId, Trace>()
const thawed = new Int32Array(new SharedArrayBuffer(4))
let frozen = Promise.withResolvers<void>()

function tell(message: ShopMessage): void {
  process.send?.(message)
}

function report(happening: ShopHappening, trace = traces.getStore()): void {
  if (trace !== undefined) tell({ type: 'happened', trace, happening })
}

onEvent('claimed', ({ id, fence }) => {
  const trace = traces.getStore()
  if (trace !== undefined) holders.set(id, trace)
  report({ kind: 'claimed', fence, pid })
})
onEvent('in-progress', () => report({ kind: 'in-progress', pid }))
onEvent('replayed', () => report({ kind: 'replayed', pid }))
onEvent('completed', ({ id }) => {
  report({ kind: 'stored', pid }, holders.get(id))
  holders.delete(id)
})
for (const end of ['released', 'unknown', 'lease-lost'] as const) onEvent(end, ({ id }) => holders.delete(id))

/** Every request of this shop is an attempt that the front has named. */
function traced(request: Request, response: Response, next: NextFunction): void {
  const trace = traceOf(request)
  response.once('finish', () => tell({ type: 'done', trace }))
  traces.run(trace, next)
}

function traceOf(request: Request): Trace {
  return JSON.parse(request.get(traceField) ?? '') as Trace
}

/** The order that a request is about, once its body is read. */
function chargeOf(request: Request): { order: string; customer: string; cents: number } {
  const { order, cents } = request.body as { order: string; cents: number }
  return { order, cents, customer: request.get('x-customer') ?? '' }
}

/** After the charge and before the answer: what is slow or dies here leaves the browser not knowing. */
async function faultAfterCharge(trace: Trace): Promise<void> {
  if (trace.fault === 'slow-server') {
    report({ kind: 'slow', pid }, trace)
    await sleep(slowMs)
  }
  if (trace.fault === 'crash') {
    tell({ type: 'at-fault', trace })
    await Promise.withResolvers<never>().promise
  }
}

/** Before the charge the whole process stands still, timers and all, so that no lease is renewed. */
async function faultBeforeCharge(trace: Trace): Promise<void> {
  if (trace.fault !== 'slow-lease') return await sleep(workMs)
  tell({ type: 'at-fault', trace })
  await frozen.promise
  report({ kind: 'woke', pid }, trace)
}

process.on('message', (message: FreezeMessage) => {
  const until = performance.now() + frozenMsMax
  while (existsSync(message.file) && performance.now() < until) Atomics.wait(thawed, 0, 0, 20)
  frozen.resolve()
  frozen = Promise.withResolvers()
})

const app = express()
const principal = (request: Request): string | undefined => request.get('x-customer')

app.post('/plain/charges', traced, express.json(), async (request, response) => {
  const trace = traceOf(request)
  const charge = chargeOf(request)
  await faultBeforeCharge(trace)
  const id = writeCharge(plainLedger, { ...charge, key: null, fence: 0 })
  report({ kind: 'charged', isCommitted: true, pid }, trace)
  await faultAfterCharge(trace)
  response.status(201).json({ id, cents: charge.cents })
})

app.post(
  '/protected/charges',
  traced,
  idempotent(idem, { principal, required: true, transaction: true }),
  express.json(),
  async (request, response) => {
    const trace = traceOf(request)
    const charge = chargeOf(request)
    const { tx, key, fence } = request.idempotency as RegisteredContext
    await faultBeforeCharge(trace)
    const id = writeCharge(tx, { ...charge, key, fence })
    report({ kind: 'charged', isCommitted: false, pid }, trace)
    await faultAfterCharge(trace)
    response.status(201).json({ id, cents: charge.cents })
  },
)

app.post(
  '/protected/by-provider',
  traced,
  idempotent(idem, { principal, required: true, lease: '2500ms', onUnknown: 'rerun' }),
  express.json(),
  async (request, response) => {
    const trace = traceOf(request)
    const charge = chargeOf(request)
    const { key, fence } = request.idempotency as RegisteredContext
    await faultBeforeCharge(trace)
    const id = writeCharge(providersLedger, { ...charge, key, fence })
    if (id === undefined) {
      report({ kind: 'fenced-off', pid }, trace)
      response.status(503).end()
      return
    }
    report({ kind: 'charged', isCommitted: true, pid }, trace)
    response.status(201).json({ id, cents: charge.cents })
  },
)

const server = app.listen(0, '127.0.0.1', () => {
  tell({ type: 'ready', port: (server.address() as AddressInfo).port })
})

// No shop outlives its front, however that ends. Ctrl-C reaches the whole group; the front ends its shops itself.
process.on('disconnect', () => process.exit(0))
process.on('SIGINT', () => {})
