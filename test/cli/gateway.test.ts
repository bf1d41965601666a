import { execFile, execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, onTestFinished, test } from 'vitest'
import { emptyFolder, originOf, run, start } from './program.ts'

const timeout = 30_000

interface Charged {
  readonly status: number
  readonly replayed: string | null
  readonly body: { readonly id?: string; readonly code?: string }
}

async function charge(origin: string, key: string, body: string, path = '/charges'): Promise<Charged> {
  const response = await fetch(`${origin}${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key },
    body,
  })
  const text = await response.text()
  return {
    status: response.status,
    replayed: response.headers.get('idempotent-replayed'),
    body: JSON.parse(text === '' ? '{}' : text) as Charged['body'],
  }
}

async function ledgerCount(origin: string): Promise<number> {
  return ((await (await fetch(`${origin}/ledger`)).json()) as { count: number }).count
}

function rowsIn(folder: string): number {
  return readFileSync(join(folder, '.retrysafe/ledger.jsonl'), 'utf8').split('\n').length - 1
}

async function untilHolds(condition: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 10))
}

const body = '{"amount":1200,"currency":"eur"}'

describe('the sample', () => {
  test('the three commands that it prints work as pasted: 201, 201 replayed, 422', { timeout }, async () => {
    const folder = emptyFolder()
    const gateway = start(folder, 'gateway', '--port', '0')
    const origin = await originOf(gateway)
    const commands = gateway
      .output()
      .split('\n')
      .filter((line) => line.startsWith('curl '))
    expect(commands).toHaveLength(3)
    const answers: string[] = []
    for (const command of commands) {
      answers.push((await promisify(execFile)('sh', ['-c', command.replace('curl', 'curl -s')])).stdout)
    }
    const [first = '', second = '', third = ''] = answers
    expect(first).toMatch(/^HTTP\/1\.1 201 /)
    expect(second).toMatch(/^HTTP\/1\.1 201 /)
    expect(second).toMatch(/^Idempotent-Replayed: true\r$/im)
    expect(third).toMatch(/^HTTP\/1\.1 422 /)
    expect(third).toContain('"code":"key-reused"')
    const id = /"id":"[^"]+"/
    expect(id.exec(second)?.[0]).toBe(id.exec(first)?.[0])
    expect(await ledgerCount(origin)).toBe(1)
    expect(gateway.output()).toContain('callers are not told apart')
  })

  test('records and ledger survive a restart', { timeout }, async () => {
    const folder = emptyFolder()
    const before = start(folder, 'gateway', '--port', '0')
    const first = await charge(await originOf(before), 'k1', body)
    before.child.kill('SIGTERM')
    expect(await before.ended).toBe(0)
    const after = start(folder, 'gateway', '--port', '0')
    const origin = await originOf(after)
    const second = await charge(origin, 'k1', body)
    expect(second).toEqual({ ...first, replayed: 'true' })
    expect(await ledgerCount(origin)).toBe(1)
  })

  test('a double click from two clients charges once', { timeout }, async () => {
    const origin = await originOf(start(emptyFolder(), 'gateway', '--port', '0'))
    const clicks = await Promise.all(
      Array.from({ length: 10 }, () => charge(origin, 'click', body, '/charges?slow=200')),
    )
    expect(clicks.filter(({ status }) => status === 201).length).toBeGreaterThanOrEqual(1)
    expect(clicks.every(({ status }) => status === 201 || status === 409)).toBe(true)
    expect(await ledgerCount(origin)).toBe(1)
    expect((await charge(origin, 'click', body, '/charges?slow=200')).replayed).toBe('true')
  })

  test('a charge that makes no sense is 400 and is replayed as such', { timeout }, async () => {
    const origin = await originOf(start(emptyFolder(), 'gateway', '--port', '0'))
    for (const wrong of [
      '',
      '{',
      '{"amount":-1,"currency":"eur"}',
      '{"amount":1,"currency":"€"}',
      '[]',
      'null',
    ]) {
      expect((await charge(origin, `k-${wrong.length}-${wrong.charCodeAt(1)}`, wrong)).status).toBe(400)
    }
    expect(await ledgerCount(origin)).toBe(0)
  })

  test('a second process on the same files replays what the first one ran', { timeout }, async () => {
    const folder = emptyFolder()
    const one = await originOf(start(folder, 'gateway', '--port', '0'))
    const two = await originOf(start(folder, 'gateway', '--port', '0'))
    const [first, second] = await Promise.all([charge(one, 'k', body), charge(two, 'k', body)])
    expect([first.status, second.status]).toContain(201)
    expect(rowsIn(folder)).toBe(1)
    expect((await charge(two, 'k', body)).body.id).toBe((await charge(one, 'k', body)).body.id)
  })
})

/** A service that holds every charge until it is let go. */
async function startHolding(): Promise<{
  origin: string
  runs: () => number
  letGo: () => void
  server: Server
}> {
  let runs = 0
  let release: (() => void)[] = []
  const server = createServer((request, response) => {
    request.resume()
    runs += 1
    release.push(() => response.writeHead(201, { 'Content-Type': 'application/json' }).end('{"id":"held"}'))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    runs: () => runs,
    letGo: () => {
      for (const each of release) each()
      release = []
    },
    server,
  }
}

function withConfig(folder: string, upstream: string, more = ''): string[] {
  writeFileSync(
    join(folder, 'gateway.yaml'),
    `upstream: ${upstream}\nlisten: { port: 0 }\nprincipal: anonymous\nstore: sqlite:./records.db\n${more}`,
  )
  return ['gateway', '--config', 'gateway.yaml']
}

describe('in front of a service', () => {
  test.each([
    ['hold', 1],
    ['rerun', 2],
  ])(
    'killed in mid-request, the key is in progress until its lease ends, and then as onUnknown: %s says',
    { timeout },
    async (onUnknown, runs) => {
      const folder = emptyFolder()
      const service = await startHolding()
      const args = withConfig(folder, service.origin, `defaults: { lease: 500ms, onUnknown: ${onUnknown} }\n`)
      const first = start(folder, ...args)
      const lost = charge(await originOf(first), 'k', body).catch(() => 'lost')
      await untilHolds(() => service.runs() === 1)
      first.child.kill('SIGKILL')
      expect(await lost).toBe('lost')
      const origin = await originOf(start(folder, ...args))
      const seen = new Set<string>()
      const asks = async (): Promise<boolean> => {
        const asked = charge(origin, 'k', body)
        if (onUnknown === 'rerun' && service.runs() === 2) service.letGo()
        const answer = await Promise.race([asked, untilHolds(() => service.runs() === 2)])
        if (answer === undefined) {
          service.letGo()
          seen.add(String((await asked).status))
          return true
        }
        seen.add(answer.body.code ?? '')
        return answer.body.code !== 'in-progress'
      }
      await untilHolds(asks)
      expect([...seen].at(-1)).toBe(onUnknown === 'hold' ? 'outcome-unknown' : '201')
      expect(service.runs()).toBe(runs)
    },
  )

  test('SIGTERM lets the running request end, then the process ends with 0', { timeout }, async () => {
    const folder = emptyFolder()
    const service = await startHolding()
    const gateway = start(folder, ...withConfig(folder, service.origin))
    const origin = await originOf(gateway)
    const running = charge(origin, 'k', body)
    await untilHolds(() => service.runs() === 1)
    gateway.child.kill('SIGTERM')
    await untilHolds(() => gateway.output().includes('draining'))
    service.letGo()
    expect((await running).status).toBe(201)
    expect(await gateway.ended).toBe(0)
  })

  test('without a principal in the request a key is refused, and the start says how callers are told apart', {
    timeout,
  }, async () => {
    const service = await startHolding()
    const gateway = start(
      emptyFolder(),
      'gateway',
      '--port',
      '0',
      '--upstream',
      service.origin,
      '--store',
      'memory:',
    )
    const refused = await charge(await originOf(gateway), 'k', body)
    expect([refused.status, refused.body.code]).toEqual([401, 'principal-invalid'])
    expect(gateway.output()).toContain('told apart by the field authorization')
    expect(service.runs()).toBe(0)
  })

  test('no key, body, query or principal reaches the output', { timeout }, async () => {
    const folder = emptyFolder()
    const service = await startHolding()
    const args = withConfig(folder, service.origin).concat('--principal', 'header:x-tenant')
    const gateway = start(folder, ...args)
    const origin = await originOf(gateway)
    const ask = (sent: string, key = 'CANARY-key') =>
      fetch(`${origin}/CANARY-path?q=CANARY-query`, {
        method: 'POST',
        headers: { 'Idempotency-Key': key, 'X-Tenant': 'CANARY-tenant' },
        body: sent,
      })
    const first = ask('CANARY-body')
    await untilHolds(() => service.runs() === 1)
    expect((await ask('CANARY-body')).status).toBe(409)
    expect((await ask('CANARY-other')).status).toBe(422)
    expect((await ask('CANARY-body', '"CANARY')).status).toBe(400)
    service.letGo()
    await first
    expect((await ask('CANARY-body')).status).toBe(201)
    service.server.close()
    service.server.closeAllConnections()
    expect((await ask('CANARY-body', 'CANARY-new')).status).toBe(502)
    gateway.child.kill('SIGTERM')
    await gateway.ended
    const events = gateway
      .output()
      .split('\n')
      .filter((line) => line.startsWith('{'))
    expect(events.map((line) => (JSON.parse(line) as { code?: string; event: string }).code)).toEqual(
      expect.arrayContaining(['in-progress', 'key-reused', 'key-malformed', 'upstream-unreachable']),
    )
    expect(gateway.output()).not.toContain('CANARY')
  })
})

describe('mistakes on the command line', () => {
  test.each<[string, string[], number, string]>([
    ['no command', [], 2, 'USAGE'],
    ['an unknown command', ['gatway'], 2, 'gatway is no command of retrysafe. Did you mean gateway?'],
    [
      'an unknown action',
      ['gateway', 'chekc'],
      2,
      'chekc is no command of retrysafe gateway. Did you mean check?',
    ],
    ['an unknown flag', ['gateway', '--prot', '1'], 2, '--prot is not known. Did you mean --port?'],
    ['a flag without its value', ['gateway', '--port'], 2, '--port needs a value.'],
    ['a flag twice', ['gateway', '--port', '0', '--port', '1'], 2, '--port is given twice.'],
    ['a word too many', ['gateway', '--port', '0', 'now'], 2, 'now is no flag'],
    [
      'port 65536',
      ['gateway', '--port', '65536'],
      2,
      '--port must be a whole number from 0 to 65535, got "65536"',
    ],
    [
      "port '80 '",
      ['gateway', '--port', '80 '],
      2,
      '--port must be a whole number from 0 to 65535, got "80 "',
    ],
    ['port abc', ['gateway', '--port', 'abc'], 2, '--port must be a whole number'],
    ['no URL', ['gateway', '--upstream', 'localhost:3000'], 2, '--upstream must be an http or https URL'],
    [
      'a password in the upstream',
      ['gateway', '--upstream', 'http://u:CANARY@h'],
      2,
      '--upstream must not hold a user name',
    ],
    [
      'another store',
      ['gateway', '--store', 'postgres://:CANARY@h'],
      2,
      '--store must be sqlite:./file.db, redis://host:6379/0 or memory:',
    ],
    ['a principal', ['gateway', '--principal', 'all'], 2, '--principal must be a header'],
    [
      'no such file',
      ['gateway', '--config', 'none.yaml'],
      2,
      '--config none.yaml cannot be read: there is no such file.',
    ],
    [
      'a folder as configuration',
      ['gateway', '--config', 'folder'],
      2,
      '--config folder is no regular file.',
    ],
    [
      'a huge configuration',
      ['gateway', 'check', '--config', 'huge.yaml'],
      2,
      '--config huge.yaml is over 1 MiB.',
    ],
    [
      'a wrong configuration',
      ['gateway', '--config', 'wrong.yaml'],
      2,
      'wrong.yaml:2: upsteam is not known. Did you mean upstream?',
    ],
    [
      'a check of it',
      ['gateway', 'check', '--config', 'wrong.yaml'],
      2,
      'wrong.yaml:3: routes[0].lease must be',
    ],
    ['no upstream', ['gateway', 'check', '--config', 'empty.yaml'], 2, 'empty.yaml:1: upstream is missing'],
    [
      'a folder as store',
      ['gateway', '--port', '0', '--store', 'sqlite:./folder'],
      1,
      'folder is no regular file.',
    ],
    [
      'a store in no folder',
      ['gateway', '--port', '0', '--store', 'sqlite:./none/x.db'],
      1,
      'none is no folder.',
    ],
    [
      'a FIFO as store',
      ['gateway', '--port', '0', '--store', 'sqlite:./fifo'],
      1,
      'fifo is no regular file.',
    ],
    [
      'an empty store',
      ['gateway', '--store', 'sqlite:'],
      2,
      '--store must be sqlite:./file.db, redis://host',
    ],
    ['a database of Redis', ['gateway', '--store', 'redis://:CANARY@h/x'], 2, 'must end with the number'],
    ['SQLite in memory', ['gateway', '--store', 'sqlite::memory:'], 2, '--store must be memory:'],
    [
      'a store that is no database',
      ['gateway', '--port', '0', '--store', 'sqlite:./wrong.yaml'],
      1,
      'The store cannot be opened in ./wrong.yaml',
    ],
    [
      'a host of another machine',
      ['gateway', '--port', '0', '--host', '192.0.2.1'],
      1,
      '--host 192.0.2.1 is no address of this machine.',
    ],
    [
      'itself as upstream',
      ['gateway', '--port', '8080', '--upstream', 'http://localhost:8080'],
      2,
      'http://localhost:8080 is the gateway itself',
    ],
    ['control characters', ['gateway', '--\u001b[31mred'], 2, 'is not known'],
    [
      'a configuration that passes',
      ['gateway', 'check', '--config', 'good.yaml'],
      0,
      'good.yaml passes: 1 route',
    ],
    ['the version', ['--version'], 0, '0.1.0'],
    ['help', ['--help'], 0, 'USAGE'],
    ['help for the gateway', ['gateway', '--help'], 0, '--upstream'],
    ['help for check', ['gateway', 'check', '--help'], 0, '--config'],
  ])('%s', { timeout }, async (_, args, code, message) => {
    const folder = emptyFolder()
    mkdirSync(join(folder, 'folder'))
    execFileSync('mkfifo', [join(folder, 'fifo')])
    writeFileSync(join(folder, 'huge.yaml'), '#'.repeat(10_000_000))
    writeFileSync(join(folder, 'empty.yaml'), '')
    writeFileSync(
      join(folder, 'wrong.yaml'),
      `# ${'a database this is not '.repeat(50)}\nupsteam: http://a\nroutes: [{ match: POST /a, lease: 10x }]\n`,
    )
    writeFileSync(
      join(folder, 'good.yaml'),
      'upstream: http://127.0.0.1:3000\nroutes: [{ match: POST /a }]\n',
    )
    const ended = await run(folder, ...args)
    expect(ended.output).toContain(message)
    expect(ended.code).toBe(code)
    expect(ended.output).not.toMatch(/^\s+at /m)
    expect(ended.output).not.toContain('CANARY')
    expect(ended.output).not.toContain('\u001b')
  })

  test('a port in use is named', { timeout }, async () => {
    const folder = emptyFolder()
    const origin = await originOf(start(folder, 'gateway', '--port', '0'))
    const { port } = new URL(origin)
    const second = await run(folder, 'gateway', '--port', port)
    expect(second.code).toBe(1)
    expect(second.output).toContain(`Port ${port} on 127.0.0.1 is in use.`)
  })
})
