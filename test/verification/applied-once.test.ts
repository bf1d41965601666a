import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, onTestFinished, test } from 'vitest'
import { memoryStore } from '../../src/stores/memory.ts'
import { type SqliteTx, sqliteStore } from '../../src/stores/sqlite.ts'
import { crashPointNames, expectAppliedOnce, fakeClock } from '../../src/verification/index.ts'

describe('in lease mode', () => {
  const charges: string[] = []
  const common = {
    open: (clock: { now(): number }) => ({ store: memoryStore({ clock }) }),
    input: { amount: 100 },
    effects: () => charges.length,
    reset: () => void (charges.length = 0),
  }

  test('an operation that holds takes effect once at every point, or is held', async () => {
    const ends = await expectAppliedOnce({
      ...common,
      operation: (idem) => idem.operation('charge', () => charges.push('charged')),
    })
    const told = ends.map(({ point, fault, effects, end }) => `${fault} at ${point}: ${end}, ${effects}`)
    expect(told).toEqual([
      'crash at before claim: value, 1',
      'crash at claim answered: unknown, 0',
      'lost answer at claim answered: value, 1',
      'crash at before settlement: unknown, 1',
      'crash at settlement answered: value, 1',
      'lost answer at settlement answered: value, 1',
    ])
    for (const { point } of ends) expect(crashPointNames).toContain(point)
  })

  test('an operation that runs again is told with the point', async () => {
    const rerun = expectAppliedOnce({
      ...common,
      operation: (idem) => idem.operation('charge', { onUnknown: 'rerun' }, () => charges.push('charged')),
    })
    await expect(rerun).rejects.toThrow("crash at 'before settlement': it took effect 2 times")
  })
})

test('in a transaction an operation takes effect once at every point', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'retrysafe-once-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  let files = 0
  let db: DatabaseSync
  const ends = await expectAppliedOnce<SqliteTx, { sku: string }, string>({
    open(clock) {
      const file = join(folder, `${(files += 1)}.db`)
      db = new DatabaseSync(file)
      db.exec('CREATE TABLE orders (sku TEXT)')
      const ofFirst: DatabaseSync[] = []
      const open = (): never => {
        const connection = new DatabaseSync(file)
        ofFirst.push(connection)
        return connection as never
      }
      return {
        store: sqliteStore({ open, clock }),
        second: sqliteStore({ file, clock }),
        crash() {
          for (const connection of ofFirst) connection.close()
        },
        dispose: () => db.close(),
      }
    },
    operation: (idem) =>
      idem.transaction('order', ({ sku }: { sku: string }, { tx }) => {
        tx.prepare('INSERT INTO orders VALUES (?)').run(sku)
        return sku
      }),
    input: { sku: 'A1' },
    effects: () => db.prepare('SELECT count(*) AS count FROM orders').get()?.['count'] as number,
    reset: () => {},
  })
  expect(ends.map(({ end, effects }) => `${end} ${effects}`)).toEqual(ends.map(() => 'value 1'))
  expect(ends.map(({ point }) => point)).toContain('before commit')
})

test('a clock stands still until it is moved, and runs what falls due in its order', async () => {
  const clock = fakeClock(1_000)
  const ran: string[] = []
  const { timers } = clock.runtime
  timers.after(30, () => ran.push('second'))
  timers.background(10, () => ran.push('first'))
  const cancel = timers.after(20, () => ran.push('never'))
  cancel()
  await clock.advance(29)
  expect([ran, clock.now()]).toEqual([['first'], 1_029])
  await clock.advance(1)
  expect(ran).toEqual(['first', 'second'])
})
