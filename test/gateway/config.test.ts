import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  parseGatewayConfig,
  parsePort,
  parsePrincipal,
  parseStore,
  parseUpstream,
} from '../../src/gateway/config.ts'

function problemsOf(text: string, environment: Record<string, string> = {}): readonly string[] {
  return parseGatewayConfig(text, 'gateway.yaml', environment).problems
}

describe('a configuration that passes', () => {
  test('every option is read', () => {
    const { config, problems } = parseGatewayConfig(
      `
upstream: http://127.0.0.1:3000
listen: { host: 0.0.0.0, port: 8443 }
store: sqlite:\${FOLDER}/records.db
principal: { header: X-Tenant }
drainTimeout: 5s
defaults: { retention: 48h }
routes:
  - match: POST /payments
    preset: money
    lease: 10s
    inFlight: wait 5s
    onUnknown: rerun
    requestBytesMax: 5MB
    responseBytesMax: 512KiB
    upstreamTimeout: 20s
  - { match: POST|PUT /orders/*/lines, preset: stripe, onStoreError: run }
  - { match: POST /uploads/*, bypass: true }
`,
      'gateway.yaml',
      { FOLDER: '/var/lib' },
    )
    expect(problems).toEqual([])
    expect(config).toMatchObject({
      upstream: 'http://127.0.0.1:3000',
      listen: { host: '0.0.0.0', port: 8443 },
      store: { kind: 'sqlite', file: '/var/lib/records.db' },
      principal: { kind: 'header', name: 'x-tenant' },
      drainTimeoutMs: 5_000,
      routes: [
        {
          kind: 'protected',
          options: {
            guard: { required: true, requestBytesMax: 5_000_000, responseBytesMax: 512 * 1024 },
            upstreamTimeoutMs: 20_000,
            policy: { leaseMs: 10_000, waitMs: 5_000, retentionMs: 48 * 3_600_000, onUnknown: 'rerun' },
          },
        },
        { kind: 'protected', options: { guard: { required: false, onStoreError: 'run' } } },
        { kind: 'bypass' },
      ],
    })
  })

  test('the example passes', () => {
    const file = join(import.meta.dirname, '../../examples/payments/gateway.yaml')
    const { config, problems } = parseGatewayConfig(readFileSync(file, 'utf8'), file, {
      PAYMENTS_URL: 'http://127.0.0.1:3000',
    })
    expect(problems).toEqual([])
    expect(config?.routes).toHaveLength(4)
  })

  test('an empty file protects every POST and PATCH', () => {
    const { config, problems } = parseGatewayConfig('', 'gateway.yaml', {})
    expect(problems).toEqual([])
    expect(config).toMatchObject({ routes: [], defaults: { guard: { required: false } } })
  })
})

describe('each mistake is named by its line', () => {
  const aDuration = "must be a duration such as '30s' or whole milliseconds, from"

  test.each<[string, string, string]>([
    [
      'a duration',
      'routes:\n  - match: POST /a\n    lease: 10x',
      'gateway.yaml:3: routes[0].lease must be a duration such as \'30s\' or whole milliseconds, from 100ms to 24h, got "10x"',
    ],
    ['lease 0', 'defaults: { lease: 0 }', `gateway.yaml:1: defaults.lease ${aDuration} 100ms to 24h, got 0`],
    [
      'lease -1',
      'defaults: { lease: -1 }',
      `gateway.yaml:1: defaults.lease ${aDuration} 100ms to 24h, got -1`,
    ],
    ['an endless lease', 'defaults: { lease: .inf }', 'gateway.yaml:1: defaults.lease must be'],
    [
      'a huge lease',
      'defaults: { lease: 1e12 }',
      `gateway.yaml:1: defaults.lease ${aDuration} 100ms to 24h, got 1000000000000`,
    ],
    [
      'lease over retention',
      'defaults:\n  retention: 10s\n  lease: 20s',
      'gateway.yaml:3: defaults.lease conflicts with another option: lease must be shorter than retention, got "20s"',
    ],
    [
      'a short retention',
      'defaults: { retention: 10s }',
      'gateway.yaml:1: defaults.retention conflicts with another option: lease must be shorter than retention',
    ],
    [
      'no retention',
      'defaults: { retention: 0 }',
      `gateway.yaml:1: defaults.retention ${aDuration} 1ms to 366d, got 0`,
    ],
    ['an unknown name', 'upsteam: http://a', 'gateway.yaml:1: upsteam is not known. Did you mean upstream?'],
    [
      'an unknown route option',
      'routes:\n  - match: POST /a\n    retenton: 1h',
      'gateway.yaml:3: routes[0].retenton is not known. Did you mean retention?',
    ],
    [
      'a missing match',
      'routes:\n  - required: true',
      "gateway.yaml:2: routes[0] must have a match, such as 'POST /payments', got a map",
    ],
    [
      'a match without method',
      'routes: [{ match: /a }]',
      'gateway.yaml:1: routes[0].match must be methods and a path',
    ],
    [
      'a star inside a segment',
      'routes: [{ match: POST /a*b }]',
      "gateway.yaml:1: routes[0].match must use '*' as a whole segment only",
    ],
    [
      'a query in a match',
      'routes: [{ match: "POST /a?b" }]',
      'gateway.yaml:1: routes[0].match must be a path without query',
    ],
    [
      'a safe method',
      'routes: [{ match: GET /a }]',
      'gateway.yaml:1: routes[0].match must name POST, PATCH, PUT or DELETE',
    ],
    [
      'the same match twice',
      'routes:\n  - match: POST /a\n  - match: POST /a',
      'gateway.yaml:3: routes[1] has the match of routes[0]',
    ],
    [
      'an option beside bypass',
      'routes:\n  - match: POST /a\n    bypass: true\n    lease: 5s',
      'gateway.yaml:4: routes[0].lease has no meaning beside bypass',
    ],
    [
      'run on store errors where a key is required',
      'defaults: { required: true, onStoreError: run }',
      "gateway.yaml:1: defaults.onStoreError conflicts with another option: onStoreError must not be 'run'",
    ],
    [
      'reconcile',
      'defaults: { onUnknown: reconcile }',
      "gateway.yaml:1: defaults.onUnknown must be 'hold' or 'rerun'",
    ],
    [
      'a word',
      'defaults: { required: yes please }',
      'gateway.yaml:1: defaults.required must be true or false, got "yes please"',
    ],
    [
      'a choice',
      'defaults: { preset: monee }',
      "gateway.yaml:1: defaults.preset must be 'default' or 'money' or 'ietf' or 'stripe', got \"monee\"",
    ],
    [
      'inFlight',
      'defaults: { inFlight: wait forever }',
      "gateway.yaml:1: defaults.inFlight must be 'refuse', or 'wait'",
    ],
    [
      'bytes',
      'defaults: { requestBytesMax: 1GB }',
      'gateway.yaml:1: defaults.requestBytesMax must be 1 to 64 MiB',
    ],
    [
      'port 65536',
      'listen: { port: 65536 }',
      'gateway.yaml:1: listen.port must be a whole number from 0 to 65535, got 65536',
    ],
    ["port '80 '", "listen: { port: '80 ' }", 'gateway.yaml:1: listen.port must be a whole number'],
    ['a host', 'listen: { host: "a b" }', 'gateway.yaml:1: listen.host must be a host name'],
    [
      'a list for a map',
      'listen: [1]',
      'gateway.yaml:1: listen must be a map of names and values, got a list',
    ],
    ['a map for a list', 'routes: {}', 'gateway.yaml:1: routes must be a list, got a map'],
    ['a list for a value', 'upstream: [http://a]', 'gateway.yaml:1: upstream must be one value, got a list'],
    ['nothing for a value', 'upstream:', 'gateway.yaml:1: upstream must be one value, got nothing'],
    [
      'a user in the upstream',
      'upstream: http://me:s3cret@a',
      'gateway.yaml:1: upstream must not hold a user name or password',
    ],
    [
      'a query in the upstream',
      'upstream: http://a/?token=1',
      'gateway.yaml:1: upstream must not hold a query',
    ],
    ['a path in the upstream', 'upstream: http://a/base', 'gateway.yaml:1: upstream must not hold a path'],
    ['another scheme', 'upstream: ftp://a', 'gateway.yaml:1: upstream must be an http or https URL'],
    [
      'a store',
      'store: postgres://a',
      'gateway.yaml:1: store must be sqlite:./file.db, redis://host:6379/0 or memory:',
    ],
    ['a database of Redis', 'store: redis://a/x', 'gateway.yaml:1: store must end with the number'],
    ['a query for Redis', 'store: redis://a?db=1', 'gateway.yaml:1: store must not hold a query'],
    ['SQLite in memory', 'store: "sqlite::memory:"', 'gateway.yaml:1: store must be memory:'],
    ['a principal', 'principal: everybody', 'gateway.yaml:1: principal must be a header'],
    [
      'an unset variable',
      'store: sqlite:${NOWHERE}/x',
      'gateway.yaml:1: store needs the environment variable NOWHERE, which is not set',
    ],
    [
      'a bad variable',
      'store: sqlite:${a-b}',
      'gateway.yaml:1: store must name environment variables as ${NAME}',
    ],
    ['an origin with a path', 'cors: [https://a.example/x]', 'gateway.yaml:1: cors[0] must be an origin'],
    ['a namespace', 'namespace: a b', 'gateway.yaml:1: namespace must be 1 to 64 letters'],
    ['a name given twice', 'upstream: http://a\nupstream: http://b', 'gateway.yaml:2: '],
    ['no YAML', 'routes: [', 'gateway.yaml:1: '],
    ['a name that is no text', '? [a]\n: b', 'gateway.yaml:1: ? is not known'],
  ])('%s', (_, text, message) => {
    const problems = problemsOf(text)
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain(message)
  })

  test('all mistakes are named at once, in the order of their lines', () => {
    const problems = problemsOf(
      'upstream: nope\nstore: nope\nroutes:\n  - match: POST /a\n    lease: 1x\n    bogus: 1',
    )
    expect(problems.map((problem) => problem.split(' ')[0])).toEqual([
      'gateway.yaml:1:',
      'gateway.yaml:2:',
      'gateway.yaml:5:',
      'gateway.yaml:6:',
    ])
  })

  test('a value from the environment is never shown, and never holds a line end', () => {
    const secret = 'CANARY-SECRET'
    const shown = problemsOf('upstream: ${UP}\nstore: "${ST}"', {
      UP: `ftp://me:${secret}@host`,
      ST: `sqlite:${secret}\nx`,
    })
    expect(shown).toHaveLength(2)
    expect(shown.join()).not.toContain(secret)
  })

  test('a password written into an upstream is never shown', () => {
    expect(problemsOf('upstream: http://me:CANARY@host').join()).not.toContain('CANARY')
  })

  test('control characters of a mistake do not reach the terminal', () => {
    const shown = problemsOf('"a\\e[31mb": 1').join()
    expect(shown).toContain('is not known')
    expect(shown).not.toContain('\u001b')
  })

  test('aliases are followed, and a document that refers to itself ends', () => {
    expect(problemsOf('defaults: &d { lease: 5s }\nroutes: [{ match: POST /a }]')).toEqual([])
    expect(problemsOf('routes: &r\n  - *r')).not.toEqual([])
  })

  test('a file over the limit is refused before it is read', () => {
    expect(problemsOf(`# ${'x'.repeat(1024 * 1024)}`)[0]).toContain('must be at most 1 MiB')
  })
})

describe('addresses', () => {
  test.each(['0', '1', '8080', '65535'])('port %s passes', (text) => {
    expect(parsePort(text)).toBe(Number(text))
  })
  test.each(['', '-1', '65536', '80 ', '8e3', '0x50', '99999'])('port %j does not', (text) => {
    expect(parsePort(text)).toHaveProperty('rule')
  })
  test('an upstream loses its slash and keeps its port', () => {
    expect(parseUpstream('http://localhost:3000/')).toBe('http://localhost:3000')
    expect(parseUpstream('https://[::1]:8443')).toBe('https://[::1]:8443')
    expect(parseUpstream('localhost:3000')).toHaveProperty('rule')
    expect(parseUpstream('')).toHaveProperty('rule')
  })
  test('a store is a file or memory', () => {
    expect(parseStore('sqlite:./a.db')).toEqual({ kind: 'sqlite', file: './a.db' })
    expect(parseStore('sqlite:///var/a.db')).toEqual({ kind: 'sqlite', file: '/var/a.db' })
    expect(parseStore('memory:')).toEqual({ kind: 'memory' })
    expect(parseStore('sqlite:')).toHaveProperty('rule')
    expect(parseStore('sqlite:a\0b')).toHaveProperty('rule')
    expect(parseStore('./a.db')).toHaveProperty('rule')
  })
  test('a store is a server of Redis', () => {
    const plain = { kind: 'redis', tls: false, host: 'cache', port: 6379, database: 0 }
    expect(parseStore('redis://cache')).toMatchObject(plain)
    expect(parseStore('redis://cache:6380/3')).toMatchObject({ ...plain, port: 6380, database: 3 })
    expect(parseStore('rediss://us%65r:p%2Fw%23d@[::1]/')).toEqual({
      ...{ kind: 'redis', tls: true, host: '::1', port: 6379, database: 0 },
      ...{ username: 'user', password: 'p/w#d' },
    })
  })
  test.each([
    '',
    'a b',
    'h/x',
    'h/-1',
    'h/123456',
    ':CANARY@h/0#x',
    ':CANARY@h?x',
    ':CANARY%zz@h',
    ':CANARY#@h',
  ])('redis://%s does not pass, and is not repeated', (rest) => {
    const refused = parseStore(`redis://${rest}`)
    expect(refused).toHaveProperty('rule')
    expect(JSON.stringify(refused)).not.toContain('CANARY')
  })
  test('a principal is a header or anonymous', () => {
    expect(parsePrincipal('header: Authorization')).toEqual({ kind: 'header', name: 'authorization' })
    expect(parsePrincipal('header:')).toHaveProperty('rule')
    expect(parsePrincipal('Anonymous')).toHaveProperty('rule')
  })
})
