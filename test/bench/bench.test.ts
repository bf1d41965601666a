/** That every question can be asked and answers in the shape that it promises; never how fast. */
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'

const root = join(import.meta.dirname, '..', '..')

interface Ended {
  readonly pid: number
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

function bench(...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [join(root, 'bench', 'run.ts'), ...args],
      (error, stdout, stderr) => {
        resolve({ pid: child.pid as number, code: error === null ? 0 : Number(error.code), stdout, stderr })
      },
    )
  })
}

function leftFolders(pid: number): string[] {
  try {
    return readdirSync(join(root, '.scratch')).filter((name) => name.startsWith(`bench-${pid}-`))
  } catch {
    return []
  }
}

const names = [
  'sqlite',
  'postgres',
  'redis',
  'redis-memory',
  'dbos',
  'hot-key',
  'retention',
  'http',
  'frameworks',
  'gateway',
  'memory',
  'client',
]

const someCases: Readonly<Record<string, readonly string[]>> = {
  postgres: ['fresh, by hand', 'replay, lease mode', 'transaction mode', 'one-statement mode'],
  redis: [
    'fresh, by hand',
    'fresh, redisStore',
    'replay, redisStore',
    'replay, tieredStore in this process',
    'replay, redisStore to Powertools',
  ],
  'redis-memory': ['record', 'record to its own octets'],
  dbos: ['workflow with one transactional step', 'transaction mode', 'one-statement mode'],
  'hot-key': ['unrelated, quiet', 'unrelated, while 50 duplicates wait'],
  retention: ['claims, quiet', 'claims, while the sweep removes'],
  sqlite: ['fresh, by hand', 'fresh, sqliteStore', 'replay, by hand', 'replay, sqliteStore'],
  http: ['express, bare', 'express, fresh key', 'fastify, replay', 'hono, fresh key', 'node, fresh key'],
  frameworks: ['express, bare', 'koa, fresh key', 'elysia, replay', 'next, fresh key'],
  gateway: ['bare proxy', 'gateway, no key', 'gateway, fresh key, SQLite'],
  memory: ['heap after 4000 operations', 'heap after 20000 operations'],
}

describe('npm run bench', () => {
  test('alone lists the questions', async () => {
    const { code, stdout } = await bench()
    expect(code).toBe(0)
    for (const name of names) expect(stdout).toContain(`  ${name} `)
  })

  test.each([['unknown'], ['sqlite', 'http'], ['sqlite', '--nonsense']])('refuses %s %s', async (...args) => {
    const { code, stdout, stderr } = await bench(...args)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain('npm run bench -- <question>')
  })

  test.each(names)(
    '%s',
    async (name) => {
      const folder = mkdtempSync(join(tmpdir(), 'retrysafe-bench-'))
      onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
      const file = join(folder, 'out.json')
      const { pid, code, stdout, stderr } = await bench(name, '--quick', '--json', file)
      expect({
        code,
        stderr: stderr.replaceAll(/^.*ExperimentalWarning.*\n.*--trace-warnings.*\n/gm, ''),
      }).toEqual({
        code: 0,
        stderr: '',
      })
      const answer = JSON.parse(readFileSync(file, 'utf8'))
      expect(answer).toMatchObject({
        question: name,
        machine: { cores: expect.any(Number), node: process.version },
      })
      const positive = expect.toSatisfy((value) => typeof value === 'number' && value > 0, 'positive')
      const notNegative = expect.toSatisfy((value) => typeof value === 'number' && value >= 0, 'not negative')
      for (const row of answer.rows) {
        expect(row).toMatchObject({
          case: expect.any(String),
          floor: expect.any(String),
          concurrency: expect.any(Number),
          medianPerSecond: positive,
          ratioToFloor: positive,
          p50Ms: notNegative,
          p99Ms: notNegative,
        })
        expect(stdout).toContain(row.case)
        if (row.case === row.floor) expect(row.ratioToFloor).toBe(1)
      }
      const cases = answer.rows.map((row: { case: string }) => row.case)
      expect(cases).toEqual(expect.arrayContaining([...(someCases[name] ?? [])]))
      const rowsOf = new Set(
        answer.rows.map((row: { case: string; concurrency: number }) => `${row.case} ${row.concurrency}`),
      )
      expect(rowsOf.size).toBe(answer.rows.length)
      expect(leftFolders(pid)).toEqual([])
    },
    // A question may start a program for each of a dozen frameworks, on a machine that does other things too.
    300_000,
  )
})
