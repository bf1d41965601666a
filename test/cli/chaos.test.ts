import { existsSync, readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import mysql from 'mysql2/promise'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { check, parseHistories } from '../../src/verification/index.ts'
import { createIdempotency, memoryStore } from '../../src/index.ts'
import { idempotent } from '../../src/http/node.ts'
import {
  hasMariadb,
  hasPostgres,
  hasRedis,
  mariadbDatabase,
  newPrefix,
  postgresDatabase,
  redisUrl,
} from '../servers.ts'
import { emptyFolder, run } from './program.ts'

// A run starts processes, and pauses them.
vi.setConfig({ testTimeout: 120_000 })

/** A service with a ledger: `/pay` writes a row, `/effects?key=` counts the rows of a key. */
async function service(isProtected: boolean): Promise<string> {
  const idem = createIdempotency({ store: memoryStore(), sweep: false })
  const rows: string[] = []
  const pay: Parameters<typeof createServer>[1] = (request, response) => {
    rows.push(String(request.headers['idempotency-key']))
    request.resume().on('end', () => {
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ id: rows.length }))
    })
  }
  const handler = isProtected
    ? idempotent(idem, { principal: () => 'anonymous', required: true }, pay as never)
    : pay
  const server: Server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://localhost')
    if (pathname === '/effects') {
      const key = searchParams.get('key')
      response.end(JSON.stringify(rows.filter((row) => row === key).length))
      return
    }
    void (handler as (request: unknown, response: unknown) => unknown)(request, response)
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  onTestFinished(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    await idem.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

describe('retrysafe chaos --store', () => {
  test('breaks SQLite, finds nothing, and writes what was seen', async () => {
    const folder = emptyFolder()
    const { code, output } = await run(
      folder,
      ...['chaos', '--store', 'sqlite:./own.db', '--rounds', '6', '--seed', '7'],
      ...['--report', 'out/report.html', '--history', 'out/history.jsonl'],
    )
    expect(output).toContain('seed 7')
    expect(output).toContain('no promise broken')
    expect(output).toMatch(/duplicates \(I1\) +0/)
    expect(code).toBe(0)
    expect(readFileSync(join(folder, 'out/report.html'), 'utf8')).toContain('<svg')
    const histories = parseHistories(readFileSync(join(folder, 'out/history.jsonl'), 'utf8'))
    expect(histories.map(({ header }) => header.mode)).toEqual([
      'transaction',
      'statement',
      'hold',
      'rerun',
      'reconcile',
    ])
    for (const history of histories) {
      expect(history.header).toMatchObject({ seed: 7, store: 'sqlite' })
      expect(check(history)).toMatchObject({ violations: [], counts: { calls: expect.any(Number) } })
    }
    expect(existsSync(join(folder, 'own.db.elsewhere'))).toBe(false)
  })

  test.skipIf(!hasPostgres)('breaks PostgreSQL in one mode, and leaves no table of its own', async () => {
    const url = await postgresDatabase()
    const { code, output } = await run(
      process.cwd(),
      ...['chaos', '--store', url, '--rounds', '8', '--seed', '7', '--modes', 'transaction', '--json'],
    )
    const [result] = JSON.parse(output) as Record<string, unknown>[]
    expect(result).toMatchObject({ mode: 'transaction', duplicates: 0, lost: 0, stuck: 0, violations: [] })
    expect(code).toBe(0)
    const { default: pg } = await import('pg')
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    const { rows } = await client.query(`SELECT relname FROM pg_class WHERE relname LIKE 'retrysafe_chaos%'`)
    await client.end()
    expect(rows).toEqual([])
  })
})

test.skipIf(!hasRedis)('breaks Redis, says what is not checked, and leaves no key of its own', async () => {
  const admin = new Redis(redisUrl)
  onTestFinished(() => admin.disconnect())
  const ofUser = newPrefix()
  await admin.set(ofUser, 'mine')
  const { code, output } = await run(
    process.cwd(),
    ...['chaos', '--store', redisUrl, '--rounds', '4', '--seed', '7', '--modes', 'hold', '--json'],
  )
  const [result] = JSON.parse(output) as { checked: string[] }[]
  expect(result).toMatchObject({ mode: 'hold', duplicates: 0, lost: 0, stuck: 0, violations: [] })
  expect(result?.checked).toContain('I1')
  expect(result?.checked).not.toContain('I7')
  expect(code).toBe(0)
  expect(await admin.keys('retrysafe_chaos*')).toEqual([])
  expect(await admin.getdel(ofUser)).toBe('mine')
})

test.skipIf(!hasMariadb)(
  'MariaDB without the right to make triggers: goes on, and says what is not checked',
  async () => {
    const address = new URL(await mariadbDatabase())
    const root = await mysql.createConnection(address.href)
    const name = `chaos_${process.pid}`
    await root.query(`CREATE USER ${name}@'127.0.0.1' IDENTIFIED BY 'word'`)
    onTestFinished(async () => {
      await root.query(`DROP USER ${name}@'127.0.0.1'`)
      await root.end()
    })
    await root.query(
      `GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP ON ${address.pathname.slice(1)}.* TO ${name}@'127.0.0.1'`,
    )
    address.username = name
    address.password = 'word'
    const { code, output } = await run(
      process.cwd(),
      ...[
        'chaos',
        '--store',
        address.href,
        '--rounds',
        '2',
        '--seed',
        '7',
        '--modes',
        'transaction',
        '--json',
      ],
    )
    const [result] = JSON.parse(output) as { violations: unknown[]; checked: string[] }[]
    expect(result?.violations).toEqual([])
    expect(result?.checked).toContain('I1')
    expect(result?.checked).not.toContain('I7')
    expect(code).toBe(0)
  },
)

describe('retrysafe chaos --url', () => {
  const faults = ['--rounds', '13', '--seed', '7']

  test('finds nothing in a service that is safe to retry', async () => {
    const origin = await service(true)
    const ledger = `${origin}/effects?key={key}`
    const { code, output } = await run(
      emptyFolder(),
      ...['chaos', '--url', `${origin}/pay`, '--ledger', ledger, ...faults],
    )
    expect(output).toContain('no promise broken')
    expect(code).toBe(0)
  })

  test('finds what takes effect twice, tells the story of the key, and ends with 1', async () => {
    const origin = await service(false)
    const ledger = `${origin}/effects?key={key}`
    const { code, output } = await run(
      emptyFolder(),
      ...['chaos', '--url', `${origin}/pay`, '--ledger', ledger, ...faults],
    )
    expect(output).toContain('the story of service')
    expect(output).toMatch(/violations\. The same faults again: --seed 7/)
    expect(output).toMatch(/duplicates \(I1\) +[1-9]/)
    expect(code).toBe(1)
  })
})

describe('wrong use', () => {
  test.each([
    [[], 'Say what to test'],
    [['--store', 'sqlite:./a.db', '--url', 'http://localhost:1'], 'Say what to test'],
    [['--store', 'http://localhost'], '--store must be postgres://'],
    [['--store', 'redis://'], '--store must be redis://host:6379/0'],
    [['--store', 'rediss://localhost'], '--store must be redis:// here'],
    [['--store', 'redis://localhost', '--modes', 'transaction'], 'redis has hold, rerun, reconcile'],
    [['--store', 'sqlite::memory:'], 'in memory ends with'],
    [['--store', 'sqlite:./a.db', '--modes', 'within'], '--modes has within'],
    [['--store', 'sqlite:./a.db', '--rounds', '0'], '--rounds must be a whole number'],
    [['--store', 'sqlite:./a.db', '--rounds', '1e9'], '--rounds must be a whole number'],
    [['--store', 'sqlite:./a.db', '--ledger', 'http://localhost'], '--ledger belongs to --url'],
    [['--url', 'http://localhost:1'], '--ledger is missing'],
    [['--url', 'http://localhost:1', '--ledger', 'http://localhost:1/effects'], 'must have {key}'],
    [['--url', 'http://localhost:1', '--ledger', 'sqlite:./a.db'], '--ledger-query is missing'],
    [
      ['--url', 'http://localhost:1', '--ledger', 'http://h/{key}', '--header', 'x'],
      "--header must be 'name: value'",
    ],
    [['--url', 'http://localhost:1', '--ledger', 'http://h/{key}', '--promise', 'x'], '--promise must be'],
    [['--stor', 'x'], '--stor is not known'],
  ])('%j', async (args, says) => {
    const { code, output } = await run(emptyFolder(), 'chaos', ...args)
    expect(output).toContain(says)
    expect(code).toBe(2)
  })

  test.each(['postgres://user:CANARY-secret@127.0.0.1:1/db', 'redis://user:CANARY-secret@127.0.0.1:1/0'])(
    'a server that is not there is told without its password: %s',
    async (address) => {
      const { code, output } = await run(process.cwd(), 'chaos', '--store', address, '--rounds', '1')
      expect(code).toBe(1)
      expect(output).not.toContain('CANARY')
      expect(output.trim()).not.toBe('')
    },
  )
})
