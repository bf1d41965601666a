/** Several processes on one file: races, locks, kills, and what a cut write-ahead log leaves. */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { copyFileSync, existsSync, mkdtempSync, rmSync, statSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type SqliteStore, sqliteStore } from '../../src/stores/sqlite.ts'
import { completion, newClaim, newId } from '../../src/verification/store-cases/context.ts'
import type { Command } from './sqlite-worker.ts'

const workerFile = fileURLToPath(new URL('sqlite-worker.ts', import.meta.url))

interface Worker {
  readonly child: ChildProcessByStdio<Writable, Readable, null>
  /** The next line it prints. */
  next(): Promise<unknown>
  readonly ended: Promise<number | null>
}

let folder: string
let file: string
let stores: SqliteStore[]
let workers: Worker[]

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'retrysafe-processes-'))
  file = join(folder, 'records.db')
  stores = []
  workers = []
})

afterEach(async () => {
  for (const { child, ended } of workers) {
    child.kill('SIGKILL')
    await ended
  }
  for (const store of stores) await store.close()
  rmSync(folder, { recursive: true })
})

function open(busyMsMax = 4_000, path = file): SqliteStore {
  const store = sqliteStore({ file: path, busyMsMax })
  stores.push(store)
  return store
}

function start(command: Command): Worker {
  const child = spawn(process.execPath, [workerFile, JSON.stringify(command)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines: Interface = createInterface(child.stdout)
  const iterator = lines[Symbol.asyncIterator]()
  const worker: Worker = {
    child,
    async next(): Promise<unknown> {
      const { value, done } = await iterator.next()
      if (done === true) throw new Error('the other process ended without an answer')
      return JSON.parse(value as string)
    },
    ended: new Promise((resolve) => child.once('close', resolve)),
  }
  workers.push(worker)
  return worker
}

function rows(path: string, sql: string): Record<string, unknown>[] {
  const db = new DatabaseSync(path)
  try {
    return db.prepare(sql).all() as Record<string, unknown>[]
  } finally {
    db.close()
  }
}

test('processes that race for the same keys win each key exactly once', async () => {
  await open().ready()
  const ids = Array.from({ length: 200 }, newId)
  const racing = [1, 2, 3].map(() => start({ do: 'claim', file, ids }))
  const own = await Promise.all(ids.map((id) => open().claim([newClaim({ id })])))
  const wins = own.flatMap(({ replies }, at) => (replies[0]?.kind === 'claimed' ? [ids[at]] : []))
  for (const worker of racing) wins.push(...((await worker.next()) as (typeof wins)[number][]))
  expect(wins.length).toBe(ids.length)
  expect(new Set(wins)).toEqual(new Set(ids))
})

test('processes that start on a fresh file at once agree on its schema', async () => {
  const starting = [1, 2, 3, 4].map(() => start({ do: 'ready', file }))
  for (const worker of starting) {
    expect(await worker.next()).toBe('ready')
    expect(await worker.ended).toBe(0)
  }
  expect(rows(file, 'SELECT name, version FROM retrysafe_schema')).toEqual([
    { name: 'retrysafe_records', version: 1 },
  ])
})

test('a transaction whose process is killed leaves neither effect nor record', async () => {
  const store = open()
  await store.ready()
  rows(file, 'CREATE TABLE orders (text TEXT) STRICT')
  const id = newId()
  const worker = start({ do: 'stay in transaction', file, id })
  expect(await worker.next()).toBe('inside')
  expect((await store.read([id])).replies).toEqual([undefined])
  const waiting = store.claim([newClaim({ id })])
  worker.child.kill('SIGKILL')
  expect((await waiting).replies).toEqual([{ kind: 'claimed' }])
  expect(rows(file, 'SELECT * FROM orders')).toEqual([])
  expect(rows(file, 'PRAGMA integrity_check')).toEqual([{ integrity_check: 'ok' }])
})

test('what a killed process had answered is there', async () => {
  const worker = start({ do: 'settle without end', file })
  const answered: string[] = []
  while (answered.length < 50) answered.push((await worker.next()) as string)
  worker.child.kill('SIGKILL')
  await worker.ended
  const { replies } = await open().read(answered as never)
  expect(replies.map((record) => record?.phase)).toEqual(answered.map(() => 'completed'))
})

test('a verb fails as transient when another process keeps the lock, and the event loop goes on', async () => {
  const known = newClaim()
  await open().claim([known])
  const worker = start({ do: 'hold the lock', file })
  expect(await worker.next()).toBe('held')

  const impatient = open(300)
  let turns = 0
  const counting = setInterval(() => (turns += 1), 1)
  const claim = impatient.claim([newClaim()])
  // Reading, and finding, needs no lock.
  expect((await impatient.claim([newClaim({ id: known.id })])).replies[0]?.kind).toBe('found')
  await expect(claim).rejects.toMatchObject({ code: 'store-failed', failure: 'transient' })
  await expect(impatient.settle([completion(known)])).rejects.toMatchObject({ failure: 'transient' })
  await expect(
    impatient.transaction(async () => ({ kind: 'commit', value: undefined })),
  ).rejects.toMatchObject({ failure: 'transient' })
  clearInterval(counting)
  expect(turns).toBeGreaterThan(20)

  const patient = open()
  const waiting = [
    patient.claim([newClaim()]),
    patient.transaction(async (_tx, records) => {
      const { replies } = await records.claim([newClaim()])
      return { kind: 'commit', value: replies[0]?.kind }
    }),
  ] as const
  worker.child.stdin.write('go\n')
  const [claimed, committed] = await Promise.all(waiting)
  expect(claimed.replies).toEqual([{ kind: 'claimed' }])
  expect(committed).toEqual({ kind: 'committed', value: 'claimed' })
})

test('a fresh file that another process has locked is opened once the lock is gone', async () => {
  rows(file, 'CREATE TABLE orders (text TEXT) STRICT')
  const worker = start({ do: 'hold the lock', file })
  expect(await worker.next()).toBe('held')
  await expect(open(200).ready()).rejects.toMatchObject({ code: 'store-failed', failure: 'transient' })
  const store = open()
  const claim = store.claim([newClaim()])
  worker.child.stdin.write('go\n')
  expect((await claim).replies).toEqual([{ kind: 'claimed' }])
})

test('a write-ahead log cut anywhere reopens to a prefix of what was committed', async () => {
  const store = open()
  const claims = Array.from({ length: 12 }, () => newClaim())
  for (const claim of claims) {
    await store.claim([claim])
    await store.settle([completion(claim)])
  }
  const log = `${file}-wal`
  const length = statSync(log).size
  for (let cut = 0; cut <= 40; cut++) {
    const copy = join(folder, `copy-${cut}.db`)
    copyFileSync(file, copy)
    copyFileSync(log, `${copy}-wal`)
    // Also in the middle of a frame.
    truncateSync(`${copy}-wal`, Math.floor((length * cut) / 40))
    const reopened = open(4_000, copy)
    const { replies } = await reopened.read(claims.map(({ id }) => id))
    const phases = replies.map((record) => record?.phase)
    const settled = phases.filter((phase) => phase === 'completed').length
    expect(phases.slice(0, settled)).toEqual(claims.slice(0, settled).map(() => 'completed'))
    const rest = phases.slice(settled)
    expect(rest.filter((phase) => phase !== undefined)).toEqual(rest[0] === 'running' ? ['running'] : [])
    expect((await reopened.claim([newClaim()])).replies).toEqual([{ kind: 'claimed' }])
    await reopened.close()
  }
  expect(existsSync(log)).toBe(true)
})
