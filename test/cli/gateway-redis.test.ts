/** The gateway on Redis: replays that outlive it, and mistakes that it names before it listens. */
import { once } from 'node:events'
import { mkdirSync, symlinkSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { hasRedis } from '../servers.ts'
import { startMaster, startReplica } from '../stores/redis-replicas.ts'
import { MortalRedis } from '../stores/mortal-redis.ts'
import { emptyFolder, originOf, run, start } from './program.ts'

vi.setConfig({ testTimeout: 30_000 })

const libraries = ['ioredis', 'ioredis-5', 'iovalkey', 'redis', 'redis-5', 'redis-4'] as const

/** A folder in which this client library is installed and no other. */
function folderWith(library: (typeof libraries)[number]): string {
  const folder = emptyFolder()
  mkdirSync(join(folder, 'node_modules'))
  const name = library.replace(/-\d$/, '')
  symlinkSync(join(process.cwd(), 'node_modules', library), join(folder, 'node_modules', name))
  return folder
}

const password = 'CANARY-p/w'

describe.skipIf(!hasRedis)('retrysafe gateway --store redis://', () => {
  let server: MortalRedis
  let admin: Redis
  const address = (secret: string): string =>
    `redis://:${encodeURIComponent(secret)}@127.0.0.1:${server.port}/2`

  beforeAll(async () => {
    server = await MortalRedis.make()
    admin = new Redis(server.url)
    await admin.config('SET', 'requirepass', password)
    await admin.auth(password)
  })
  afterAll(async () => {
    admin.disconnect()
    await server.dispose()
  })

  async function upstream(): Promise<{ readonly origin: string; runs(): number }> {
    let runs = 0
    const service = createServer((request, response) => {
      runs += 1
      request.resume().on('end', () => response.writeHead(201).end(`charge ${runs}`))
    }).listen(0, '127.0.0.1')
    await once(service, 'listening')
    onTestFinished(() => {
      service.close()
      service.closeAllConnections()
    })
    return { origin: `http://127.0.0.1:${(service.address() as AddressInfo).port}`, runs: () => runs }
  }

  test.each(libraries)('what one gateway ran the next one replays, with %s', async (library) => {
    const folder = folderWith(library)
    const service = await upstream()
    const key = `key-with-${library}`
    const args = ['gateway', '--port', '0', '--upstream', service.origin, '--principal', 'anonymous']
    const charge = async (origin: string): Promise<readonly unknown[]> => {
      const sent = { method: 'POST', headers: { 'Idempotency-Key': key }, body: '{"amount":1}' }
      const answer = await fetch(`${origin}/charges`, sent)
      return [answer.status, answer.headers.get('idempotent-replayed'), await answer.text()]
    }

    const first = start(folder, ...args, '--store', address(password))
    const origin = await originOf(first)
    expect(await charge(origin)).toEqual([201, null, 'charge 1'])
    expect(await charge(origin)).toEqual([201, 'true', 'charge 1'])
    first.child.kill('SIGTERM')
    expect(await first.ended).toBe(0)

    const second = start(folder, ...args, '--store', address(password))
    expect(await charge(await originOf(second))).toEqual([201, 'true', 'charge 1'])
    expect(service.runs()).toBe(1)
    for (const { output } of [first, second]) {
      expect(output()).toMatch(/^Records on redis [\d.]+: an append-only file, synced at each write/m)
      expect(output()).toContain(`Records: redis://127.0.0.1:${server.port}/2.`)
      expect(output()).not.toContain('CANARY')
    }
    await admin.select(2)
    expect(await admin.dbsize()).toBe(libraries.indexOf(library) + 1)
  })

  test.each(['ioredis', 'redis'] as const)(
    'while Redis is away it refuses, and goes on when Redis is back, with %s',
    async (library) => {
      const own = await MortalRedis.make()
      onTestFinished(() => own.dispose())
      const service = await upstream()
      const gateway = start(
        folderWith(library),
        ...['gateway', '--port', '0', '--upstream', service.origin, '--principal', 'anonymous'],
        ...['--store', own.url],
      )
      const origin = await originOf(gateway)
      const ask = async (key: string): Promise<number> =>
        (await fetch(`${origin}/charges`, { method: 'POST', headers: { 'Idempotency-Key': key } })).status
      expect(await ask('before')).toBe(201)
      await own.kill()
      expect(await ask('while')).toBe(503)
      expect(service.runs()).toBe(1)
      await own.start()
      await expect.poll(() => ask('while')).toBe(201)
      expect(await ask('before')).toBe(201)
      expect(service.runs()).toBe(2)
    },
  )

  /** Accepts connections and says nothing. */
  async function silentPort(): Promise<number> {
    const silent = createTcpServer(() => {}).listen(0, '127.0.0.1')
    await once(silent, 'listening')
    onTestFinished(() => void silent.close())
    return (silent.address() as AddressInfo).port
  }

  test.each<readonly [string, () => Promise<string> | string, RegExp]>([
    [
      'a port where nothing listens',
      () => 'redis://:CANARY@127.0.0.1:1/0',
      /cannot be reached.*\n.*host and port/,
    ],
    ['a wrong password', () => address('CANARY-wrong'), /refused the login.*\n.*user name, password/],
    ['no password', () => server.url, /asks for a password.*\n.*user name, password/],
    ['TLS to a port without it', () => `rediss://127.0.0.1:${server.port}`, /cannot be used.*\n.*speaks TLS/],
    [
      'a number of no database',
      () => `${address(password).slice(0, -1)}99`,
      /does not exist.*\n.*number of the/,
    ],
    [
      'a server that says nothing',
      async () => `redis://127.0.0.1:${await silentPort()}`,
      /cannot be used.*\n.*rediss:/,
    ],
  ])('%s: ends with 1 and says what to do', async (_, addressOf, says) => {
    for (const library of ['ioredis', 'redis'] as const) {
      const args = ['gateway', '--port', '0', '--store', await addressOf()]
      const { code, output } = await run(folderWith(library), ...args)
      expect(output, library).toMatch(says)
      expect(output, library).not.toContain('CANARY')
      expect(code, library).toBe(1)
    }
  })

  test('without a client library it says what to install', async () => {
    const { code, output } = await run(emptyFolder(), 'gateway', '--port', '0', '--store', server.url)
    expect(output).toContain('install ioredis or iovalkey or redis there')
    expect(code).toBe(1)
  })

  test('a server that evicts is refused, with the setting that mends it', async () => {
    const evicting = await MortalRedis.make({ settings: ['--maxmemory-policy', 'allkeys-lru'] })
    onTestFinished(() => evicting.dispose())
    const { code, output } = await run(process.cwd(), 'gateway', '--port', '0', '--store', evicting.url)
    expect(output).toContain('may evict records (maxmemory-policy allkeys-lru)')
    expect(output).toContain('CONFIG SET maxmemory-policy noeviction')
    expect(code).toBe(1)
  })

  test('a replica is refused', async () => {
    const replica = await startReplica(await startMaster())
    const { code, output } = await run(process.cwd(), 'gateway', '--port', '0', '--store', replica.url)
    expect(output).toMatch(/read-only replica.*\n.*master/)
    expect(code).toBe(1)
  })
})
