/**
 * Each named point of a call, and a process that is killed there, paused over its lease, or cut off: one key, a
 * first process to which it happens and a second one that asks for the same key. The tables say how the key must
 * end; the checker reads what was seen.
 *
 * Points that are not here: `release` and `sweep` have no effect that could happen twice (see the engine's tests and
 * `test/stores/sweep.test.ts`).
 */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { ChaosDatabase } from '../../src/cli/chaos/contract.ts'
import { openDatabase } from '../../src/cli/chaos/database.ts'
import {
  type AskCommand,
  type ChaosMode,
  type Dialect,
  leaseMs,
  modesOf,
  retentionMs,
} from '../../src/cli/chaos/protocol.ts'
import { promiseOf } from '../../src/cli/chaos/run.ts'
import { Worker, workerProgram } from '../../src/cli/chaos/worker-process.ts'
import { check } from '../../src/verification/checker.ts'
import type { CrashPoint } from '../../src/verification/crash-points.ts'
import { type FaultProxy, startFaultProxy } from '../../src/verification/fault-proxy.ts'
import type { HistoryEvent } from '../../src/verification/history.ts'
import { hasMariadb, hasPostgres, hasRedis } from '../servers.ts'
import { whileTimeIsKept } from '../stalls.ts'
import { type ChaosTarget, targetOf } from './servers.ts'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000, maxConcurrency: 4 })

type Fault = 'kill' | 'pause' | 'cut'
type End = 'value' | 'held'
/** How the key may end for the second process, and how often it may have taken effect. */
interface Outcome {
  readonly ends: readonly End[]
  readonly effectsMin: number
  readonly effectsMax: number
}
type Row = Readonly<Record<Fault, Outcome>>

const outcome = (effects: number, ...ends: readonly End[]): Outcome => ({
  ends,
  effectsMin: effects,
  effectsMax: effects,
})
const once = outcome(1, 'value')
const neverHeld: Row = { kill: once, pause: once, cut: once }
/** The connection that is cut may be the handler's own: then it does not know of its effect. */
const heldWhenCut: Outcome = { ends: ['value', 'held'], effectsMin: 0, effectsMax: 1 }
const heldWhenKilled = (effects: number): Row => ({
  kill: outcome(effects, 'held'),
  pause: once,
  cut: heldWhenCut,
})

/** Effect and record commit together: one effect, whatever happens where. */
const transactionTable: Partial<Record<CrashPoint, Row>> = {
  'before transaction': neverHeld,
  'before claim': neverHeld,
  'claim answered': neverHeld,
  'in handler': neverHeld,
  'effect written': neverHeld,
  'handler returns': neverHeld,
  'before commit': neverHeld,
  'commit answered': neverHeld,
}

/** An attempt that never settles is held, whether it had its effect or not: nobody can know. */
const holdTable: Partial<Record<CrashPoint, Row>> = {
  'before claim': { ...neverHeld, cut: heldWhenCut },
  // Paused over its lease, a process goes on and finds nobody in its place.
  'claim answered': heldWhenKilled(0),
  'in handler': heldWhenKilled(0),
  'before renewal': heldWhenKilled(0),
  'renewal answered': heldWhenKilled(0),
  'effect written': heldWhenKilled(1),
  'handler returns': heldWhenKilled(1),
  'before settlement': heldWhenKilled(1),
  'settlement answered': neverHeld,
}

const twice = outcome(2, 'value')
const againWhenCut: Outcome = { ends: ['value'], effectsMin: 1, effectsMax: 2 }
const againWhenGone = (killed: Outcome, paused = killed): Row => ({
  kill: killed,
  pause: paused,
  cut: againWhenCut,
})

/** An attempt whose lease runs out is followed by another one; an effect of the first is not undone. */
const rerunTable: Partial<Record<CrashPoint, Row>> = {
  'before claim': againWhenGone(once),
  'claim answered': againWhenGone(once),
  // Paused, it goes on when another has run: its late effect is elsewhere, where no fence of ours reaches.
  'in handler': againWhenGone(once, twice),
  'before renewal': againWhenGone(once, twice),
  'renewal answered': againWhenGone(once, twice),
  'effect written': againWhenGone(twice),
  'handler returns': againWhenGone(twice),
  'before settlement': againWhenGone(twice),
  'settlement answered': neverHeld,
}

/** The one after it asks for the effect: it adopts what is there, and runs where nothing is. */
const reconcileTable: Partial<Record<CrashPoint, Row>> = {
  'before claim': neverHeld,
  'claim answered': neverHeld,
  'in handler': { ...neverHeld, pause: twice },
  'before renewal': { ...neverHeld, pause: twice },
  'renewal answered': { ...neverHeld, pause: twice },
  'effect written': neverHeld,
  'handler returns': neverHeld,
  'before settlement': neverHeld,
  'settlement answered': neverHeld,
}

const statementTable: Partial<Record<CrashPoint, Row>> = {
  'before statement': neverHeld,
  'statement answered': neverHeld,
}

const tables: Readonly<Record<Exclude<ChaosMode, 'within'>, Partial<Record<CrashPoint, Row>>>> = {
  transaction: transactionTable,
  hold: holdTable,
  rerun: rerunTable,
  reconcile: reconcileTable,
  statement: statementTable,
}

const databases = {
  PostgreSQL: { dialect: 'postgres', available: hasPostgres },
  MariaDB: { dialect: 'mysql', available: hasMariadb },
  SQLite: { dialect: 'sqlite', available: true },
  Redis: { dialect: 'redis', available: hasRedis },
} as const

/** What can happen at which point of which mode on a database. */
function casesOf(dialect: Dialect): readonly (readonly [ChaosMode, CrashPoint, Fault, Outcome])[] {
  return Object.entries(tables).flatMap(([mode, table]) =>
    Object.entries(table).flatMap(([point, row]) =>
      (Object.entries(row) as [Fault, Outcome][]).flatMap(([fault, expected]) => {
        // A file has no connection, and only Postgres has statements of one round trip.
        if (fault === 'cut' && dialect === 'sqlite') return []
        if (mode === 'statement' && dialect !== 'postgres') return []
        if (!modesOf[dialect].includes(mode as ChaosMode)) return []
        return [[mode as ChaosMode, point as CrashPoint, fault, expected] as const]
      }),
    ),
  )
}

function said({ ends, effectsMin, effectsMax }: Outcome): string {
  const effects = effectsMin === effectsMax ? effectsMin : `${effectsMin} to ${effectsMax}`
  return `${ends.join(' or ')}, effects ${effects}`
}

const pausedMs = leaseMs + 500
let keys = 0

describe.each(Object.entries(databases))('%s', (_, { dialect, available }) => {
  let target: ChaosTarget
  let database: ChaosDatabase
  let second: Worker
  const seen: { readonly mode: ChaosMode; readonly event: HistoryEvent }[] = []
  /** Who waits for the end of a call. */
  const waiting = new Map<number, (end: HistoryEvent) => void>()

  beforeAll(async () => {
    if (!available) return
    target = await targetOf(dialect)
    database = openDatabase(dialect, target.address)
    await database.prepare(false)
    second = workerOn(target.address, 'second', 0)
  })
  afterAll(async () => {
    if (!available) return
    await second.kill()
    await database.dispose()
    await target.dispose()
  })

  function workerOn(address: string, name: string, callsFrom: number): Worker {
    return new Worker(
      {
        ...(database.elsewhere === undefined ? {} : { elsewhere: database.elsewhere }),
        dialect,
        address,
        name,
        seed: 1,
        modes: ['hold'],
        lanes: 0,
        callsFrom,
        unprotected: false,
      },
      workerProgram,
      (mode, event) => {
        seen.push({ mode, event })
        if (isEnd(event)) waiting.get(event.call)?.(event)
      },
    )
  }

  function endOf(worker: Worker, ask: AskCommand): Promise<HistoryEvent> {
    worker.asked += 1
    const { promise, resolve } = Promise.withResolvers<HistoryEvent>()
    waiting.set(worker.callsFrom + worker.asked, resolve)
    worker.tell(ask)
    return promise
  }

  /** Asks as a client does that has time. */
  async function lastEndOf(ask: AskCommand): Promise<End> {
    for (;;) {
      const end = await endOf(second, ask)
      if (end.type === 'ok') return 'value'
      if ('code' in end && end.code === 'outcome-unknown') return 'held'
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }

  // A file has one writer: who waits at a point of its transaction would keep all others out.
  const options = { concurrent: dialect !== 'sqlite', skip: !available }
  for (const [mode, point, fault, expected] of casesOf(dialect)) {
    test(`${mode}, ${point}, ${fault}: ${said(expected)}`, options, async () => {
      const violations: unknown[] = []
      try {
        await whileTimeIsKept(() => tryCase(mode, point, fault, expected, violations))
      } finally {
        // Where the key ends is a matter of time; what is promised is none.
        expect(violations).toEqual([])
      }
    })
  }

  async function tryCase(
    mode: ChaosMode,
    point: CrashPoint,
    fault: Fault,
    expected: Outcome,
    violations: unknown[],
  ): Promise<void> {
    keys += 1
    const number = keys
    const ask: AskCommand = {
      do: 'ask',
      mode,
      principal: 'alice',
      key: `key-${number}`,
      request: 'same',
      // A handler that is not over before its lease is renewed, however slow the machine is.
      takesMs: point.includes('renewal') ? 30_000 : 0,
    }
    const proxy = await proxyTo(target.address, dialect)
    const first = workerOn(proxy?.address ?? target.address, `first of ${number}`, number * 1_000)
    try {
      const reached = first.stopAt(point, 10_000)
      const ended = endOf(first, ask)
      expect(await reached, 'the point is reached').toBe(true)
      await happen(fault, first, proxy?.proxy, () => endOf(second, { ...ask, takesMs: 0 }))
      if (fault !== 'kill') await ended
      expect(expected.ends).toContain(await lastEndOf({ ...ask, takesMs: 0 }))
    } finally {
      await first.kill()
      await proxy?.proxy.close()
    }
    const rows = (await database.ledger()).filter(({ name }) => name === ask.key)
    violations.push(...violationsOf(ask, rows))
    expect(rows.length).toBeGreaterThanOrEqual(expected.effectsMin)
    expect(rows.length).toBeLessThanOrEqual(expected.effectsMax)
  }

  function violationsOf(
    ask: AskCommand,
    rows: Awaited<ReturnType<ChaosDatabase['ledger']>>,
  ): readonly unknown[] {
    const calls = new Set<number>()
    for (const { event } of seen) {
      if (event.type === 'invoke' && event.key === ask.key) calls.add(event.call)
    }
    const events = seen.flatMap(({ event }) => ('call' in event && calls.has(event.call) ? [event] : []))
    for (const { effect, principal, name: key, request, asked: call, token, happened: at } of rows) {
      events.push({ at, type: 'effect', effect, principal, key, request, call, token })
    }
    // What a process that was killed had asked has no end.
    for (const call of calls) {
      if (!events.some((event) => isEnd(event) && event.call === call)) {
        events.push({ at: Number.MAX_SAFE_INTEGER, type: 'info', call, code: 'gone' })
      }
    }
    const header = {
      ...{ seed: 1, store: dialect, mode: ask.mode, promise: promiseOf[ask.mode] },
      ...{ leaseMs, retentionMs, tombstoneMs: 0, recoveryMs: leaseMs + 5_000 },
    }
    return check({ header, events: events.toSorted((a, b) => a.at - b.at) }).violations
  }
})

async function happen(
  fault: Fault,
  first: Worker,
  proxy: FaultProxy | undefined,
  meanwhile: () => Promise<unknown>,
): Promise<void> {
  switch (fault) {
    case 'kill':
      return await first.kill()
    case 'pause': {
      first.child.kill('SIGSTOP')
      // Somebody else asks, for longer than the lease.
      await Promise.all([meanwhile(), new Promise((resolve) => setTimeout(resolve, pausedMs))])
      first.tell({ do: 'go' })
      first.child.kill('SIGCONT')
      return
    }
    case 'cut':
      proxy?.dropAll()
      first.tell({ do: 'go' })
      return
    default:
      return fault satisfies never
  }
}

function isEnd(event: HistoryEvent): event is Extract<HistoryEvent, { type: 'ok' | 'fail' | 'info' }> {
  return event.type === 'ok' || event.type === 'fail' || event.type === 'info'
}

async function proxyTo(
  address: string,
  dialect: Dialect,
): Promise<{ readonly proxy: FaultProxy; readonly address: string } | undefined> {
  if (dialect === 'sqlite') return undefined
  const url = new URL(address)
  const proxy = await startFaultProxy({ target: { host: url.hostname, port: Number(url.port) } })
  url.port = String(proxy.port)
  return { proxy, address: url.href }
}
