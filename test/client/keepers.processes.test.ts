/** Keepers that several processes share, and processes that are killed while they pay. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, expect, onTestFinished, test } from 'vitest'
import { fileKeeper } from '../../src/client/keepers/file.ts'
import type { KeyKeeper } from '../../src/client/keepers/index.ts'
import { sqliteKeeper } from '../../src/client/keepers/sqlite.ts'
import { type Charges, keysOf, startCharges } from './charges.ts'

const kinds = ['file', 'sqlite'] as const
type Kind = (typeof kinds)[number]

const program = join(import.meta.dirname, 'keeper-process.ts')
const octets = Buffer.from(Uint8Array.from({ length: 256 }, (_, at) => at))

interface Paying {
  readonly child: ChildProcess
  /** Resolves when the process has said so. */
  said(line: string): Promise<void>
  /** All that it said, once it has ended. */
  ended(): Promise<string[]>
  kill(): Promise<void>
}

function newPath(): string {
  const folder = mkdtempSync(join(tmpdir(), 'retrysafe-keeper-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return join(folder, 'calls')
}

/** Starts a process that goes on to `point`, to its end, or resumes. */
function start(kind: Kind, path: string, { origin }: Pick<Charges, 'origin'>, point: string): Paying {
  const args = ['--disable-warning=ExperimentalWarning', program, kind, path, `${origin}/charges`, point]
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const closed = once(child, 'close')
  const lines: string[] = []
  const waiting = new Map<string, () => void>()
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line)
    waiting.get(line)?.()
  })
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL')
    await closed
  }
  onTestFinished(kill)
  return {
    ...{ child, kill },
    said: (line) =>
      new Promise((resolve, reject) => {
        if (lines.includes(line)) resolve()
        waiting.set(line, resolve)
        void closed.then(() => reject(new Error(`It ended after ${lines.join(', ')}.`)))
      }),
    async ended() {
      await closed
      return lines
    },
  }
}

async function listed(kind: Kind, path: string): Promise<number> {
  const keeper: KeyKeeper & { close?(): Promise<void> } =
    kind === 'file' ? fileKeeper({ folder: path }) : sqliteKeeper({ file: path })
  const calls = await keeper.list()
  await keeper.close?.()
  return calls.length
}

describe.each(kinds)('%s: a process that is killed', (kind) => {
  /** What was kept when it died, and what has been sent. */
  const points = [
    { point: 'key-made', left: 0, arrivals: 0 },
    { point: 'key-saved', left: 1, arrivals: 0 },
    { point: 'answered', left: 1, arrivals: 1 },
    { point: 'result-saved', left: 0, arrivals: 1 },
  ]
  test.each(points)(
    'at $point, and a new one that resumes: one effect at most',
    async ({ point, left, arrivals }) => {
      const charges = await startCharges()
      const path = newPath()
      const first = start(kind, path, charges, point)
      await first.said(point)
      await first.kill()
      expect(await listed(kind, path)).toBe(left)
      expect(charges.arrivals).toHaveLength(arrivals)

      const ends = (await start(kind, path, charges, 'resume').ended()).at(-1)
      expect(ends).toBe(left === 0 ? '[]' : '["answered"]')
      expect(await listed(kind, path)).toBe(0)
      expect(charges.effects).toEqual(left + arrivals === 0 ? [] : [octets])
      expect(new Set(charges.arrivals.map((arrival) => arrival.octets.toString('hex')))).toEqual(
        new Set(left + arrivals === 0 ? [] : [octets.toString('hex')]),
      )
      expect(keysOf(charges).length).toBe(left + arrivals === 0 ? 0 : 1)
      // The credentials are those of now.
      if (left === 1) expect(charges.arrivals.at(-1)?.authorization).toBe('Bearer new')
    },
  )

  test('after it has sent, and a new one resumes while the server is still at it: one effect', async () => {
    const charges = await startCharges()
    const path = newPath()
    const arrived = Promise.withResolvers<void>()
    const gate = Promise.withResolvers<void>()
    charges.beforeEffect = () => {
      arrived.resolve()
      return gate.promise
    }
    const first = start(kind, path, charges, 'never')
    await arrived.promise
    await first.kill()
    const second = start(kind, path, charges, 'resume')
    await expect.poll(() => charges.arrivals.length).toBe(2)
    gate.resolve()
    expect((await second.ended()).at(-1)).toBe('["answered"]')
    expect(charges.effects).toEqual([octets])
    expect(keysOf(charges)).toHaveLength(1)
    expect(charges.arrivals.every((arrival) => arrival.octets.equals(octets))).toBe(true)
    expect(await listed(kind, path)).toBe(0)
  })

  test('and started again by itself, with the same intent: one effect', async () => {
    const charges = await startCharges()
    const path = newPath()
    const first = start(kind, path, charges, 'answered')
    await first.said('answered')
    await first.kill()
    expect((await start(kind, path, charges, 'never').ended()).at(-1)).toBe('201')
    expect(charges.effects).toHaveLength(1)
    expect(keysOf(charges)).toHaveLength(1)
  })
})

describe.each(kinds)('%s: processes at once', (kind) => {
  test('that race for many calls, edit and settle them agree on every key', async () => {
    const path = newPath()
    const all = Array.from({ length: 3 }, () => start(kind, path, { origin: 'http://127.0.0.1' }, 'race'))
    for (const body of ['first', 'edited', 'done']) {
      await Promise.all(all.map((each) => each.said(`ready for ${body}`)))
      for (const each of all) each.child.stdin?.write('\n')
    }
    const said = await Promise.all(all.map((each) => each.ended()))
    const keys = said.map((lines) => lines.filter((line) => line.startsWith('keys')))
    expect(keys[0]).toHaveLength(2)
    expect(keys[0]?.[0]).not.toBe(keys[0]?.[1])
    expect(keys).toEqual([keys[0], keys[0], keys[0]])
    expect(await listed(kind, path)).toBe(0)
  })

  test('with one intent get one key: one effect', async () => {
    const charges = await startCharges()
    const path = newPath()
    const arrived = Promise.withResolvers<void>()
    const gate = Promise.withResolvers<void>()
    charges.beforeEffect = () => {
      arrived.resolve()
      return gate.promise
    }
    const all = Array.from({ length: 3 }, () => start(kind, path, charges, 'never'))
    await arrived.promise
    await Promise.all(all.map((each) => each.said('key-saved')))
    gate.resolve()
    for (const each of all) expect((await each.ended()).at(-1)).toBe('201')
    expect(keysOf(charges)).toHaveLength(1)
    expect(charges.effects).toHaveLength(1)
    expect(await listed(kind, path)).toBe(0)
  })
})
