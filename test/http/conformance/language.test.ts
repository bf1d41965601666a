import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { acceptedStatuses, parseCases } from './cases.ts'
import { failuresOf } from './expectations.ts'
import type { RunStep } from './expectations.ts'
import { applicable, runCase, variablesOf } from './harness.ts'
import { KeySymbols, requestOfStep } from './requests.ts'
import type { ConformanceCase, Expectation, Step } from './cases.ts'
import type { Answer, WireRequest } from './client.ts'
import { startReference } from './reference-server.ts'
import type { StartedTarget } from './suite.ts'
import type { TargetDescription } from './target.ts'

const vars = variablesOf({ caps: [] })

function wire(step: Step, symbols: KeySymbols = new KeySymbols()): WireRequest {
  return requestOfStep(step, {
    symbols,
    bodies: { B: '{"b":1}' },
    idOfStep: (number) => (number === 1 ? 'c/1' : undefined),
  })
}

function values(request: WireRequest, name: string): string[] {
  return request.headers.filter(([field]) => field === name).map(([, value]) => value)
}

describe('a step becomes a request', () => {
  test('a symbol is one UUID in every step, quoted', () => {
    const symbols = new KeySymbols()
    const [first] = values(wire({ k: 'A' }, symbols), 'Idempotency-Key')
    expect(first).toMatch(/^"[0-9a-f-]{36}"$/)
    expect(values(wire({ k: 'A' }, symbols), 'Idempotency-Key')).toEqual([first])
    expect(values(wire({ k: 'Z' }, symbols), 'Idempotency-Key')).not.toEqual([first])
    expect(values(wire({ kraw: 'x{A}' }, symbols), 'Idempotency-Key')).toEqual([`x${first?.slice(1, -1)}`])
  })

  test('a symbol can be padded, and several lines can carry the field', () => {
    const symbols = new KeySymbols()
    const uuid = symbols.value('A')
    const request = wire({ klines: ['"{A*40}"', '"b"'] }, symbols)
    expect(values(request, 'Idempotency-Key')).toEqual([`"${uuid}xxxx"`, '"b"'])
    expect(symbols.usedIn(request.headers)).toEqual([uuid])
  })

  test('no key member sends no field', () => {
    expect(values(wire({ b: 'B' }), 'Idempotency-Key')).toEqual([])
  })

  test('a literal body repeats, and its braces stay', () => {
    expect(wire({ raw: '{"a":"{x*3}"}' }).body.toString()).toBe('{"a":"xxx"}')
  })

  test('multipart uses the boundary of the step', () => {
    const request = wire({ parts: [['f', 'a.txt', 'hello']], bnd: 'xx1' })
    expect(values(request, 'Content-Type')).toEqual(['multipart/form-data; boundary=xx1'])
    expect(request.body.toString()).toBe(
      '--xx1\r\nContent-Disposition: form-data; name="f"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\nhello\r\n--xx1--\r\n',
    )
  })

  test('defaults: POST /charges as judge, JSON, any answer', () => {
    const request = wire({ b: 'B' })
    expect([request.method, request.target]).toEqual(['POST', '/charges'])
    expect(request.headers).toEqual([
      ['Accept', '*/*'],
      ['Authorization', 'Bearer judge'],
      ['Content-Type', 'application/json'],
    ])
  })

  test('principal, directives, path and fields of the step win', () => {
    const request = wire({
      auth: 'a:b',
      do: 'bin',
      p: '/charges/{id1}',
      m: 'PUT',
      h: { accept: 'text/plain' },
    })
    expect([request.method, request.target]).toEqual(['PUT', '/charges/c%2F1'])
    expect(request.headers).toEqual([
      ['accept', 'text/plain'],
      ['Authorization', 'Bearer a:b'],
      ['Fixture-Do', 'bin'],
    ])
  })

  test('a null principal and a preflight carry no credentials', () => {
    expect(values(wire({ auth: null }), 'Authorization')).toEqual([])
    expect(values(wire({ m: 'OPTIONS' }), 'Authorization')).toEqual([])
  })
})

describe('statuses', () => {
  test.each([
    [201, {}, [201]],
    [['$unknown', 502], {}, [409, 502]],
    ['$mismatch', { mismatch: '409,422' }, [409, 422]],
    ['$mismatch', { mismatch: [400, 422] }, [400, 422]],
  ])('%j with %j accepts %j', (expected, changed, accepted) => {
    expect(acceptedStatuses(expected, { ...vars, ...changed })).toEqual(accepted)
  })

  test.each(['$marker', '$colour', 'mismatch'])('%s is no status', (word) => {
    expect(() => acceptedStatuses(word, { ...vars, marker: null })).toThrow(
      `"${word}" names no status variable`,
    )
  })
})

describe('an answer is judged', () => {
  const first = answer(201, '{"id":"c1"}', { 'X-App': '1' })

  test.each<[Expectation, Answer, string | undefined]>([
    [{ same: 1 }, answer(201, '{"id":"c1"}'), undefined],
    [{ same: 1 }, answer(201, '{"id":"c2"}'), 'body differs from octet 8'],
    [{ same: 1 }, answer(200, '{"id":"c1"}'), 'status 200, step 1 had 201'],
    [{ same: 1 }, answer(201, '{"id":"c1"}', {}, 'text/plain'), 'Content-Type text/plain'],
    [{ same: 9 }, first, 'step 9 has no answer'],
    [{ differs: 1 }, answer(422, '{}'), undefined],
    [{ differs: 1 }, answer(201, '{"id":"c1"}'), 'carries the id of step 1'],
    [{ lacks: 1 }, answer(422, '{}'), undefined],
    [{ lacks: 1 }, answer(422, '{"detail":"see c1"}'), 'body holds the id of step 1'],
    [{ lacks: 1 }, answer(200, '{"detail":"key-1"}'), 'body holds the key'],
    [{}, answer(422, '{"detail":"KEY-1"}'), 'the error body holds the key'],
    [{ within: 100 }, answer(201, '{}'), undefined],
    [{ within: 10 }, answer(201, '{}'), 'whole answer after 50 ms'],
    [{ ttfb: 10 }, answer(201, '{}'), 'first octet after 40 ms'],
    [{ ttfb: 45 }, answer(201, '{}'), undefined],
    [{ has: { 'X-App': 'differs' } }, answer(201, '{}'), undefined],
    [{ has: { 'X-App': 'differs' } }, answer(201, '{}', { 'X-App': '1' }), 'X-App is the one of step 1'],
    [{ has: { 'X-Not': 'same' } }, answer(201, '{}'), 'X-Not is absent'],
    [{ whole_or_empty: 1 }, answer(201, ''), undefined],
    [{ whole_or_empty: 1 }, answer(409, '{}'), undefined],
    [{ whole_or_empty: 1 }, answer(201, '{"id"'), 'a 201 body of 5 octets is neither empty nor'],
    [{ replay: false }, answer(201, '{}', { 'Idempotent-Replayed': 'false' }), undefined],
    [{ problem: 'x' }, answer(409, 'no', {}, 'application/problem+json'), 'the problem is not a JSON object'],
    [
      { problem: 'x' },
      answer(409, '{"status":409}', {}, 'application/problem+json; charset=utf-8'),
      undefined,
    ],
  ])('%j', (x, second, failure) => {
    const failures = failuresOf([run({}, first), run({ x }, second)], vars)
    expect(failures).toEqual(failure === undefined ? [] : [expect.stringContaining(`step 2: ${failure}`)])
  })

  test.each([
    ['bin', answer(201, 'abc'), '256 octets'],
    ['size=3', answer(201, '{"pad":"xx"}'), 'pad member of 3'],
    ['delay=1,stream=4', answer(201, '{"id":"c1"}'), 'id and seq'],
  ])('a first delivery of %s must be whole', (directives, first_, failure) => {
    expect(failuresOf([run({ do: directives }, first_)], vars)).toEqual([expect.stringContaining(failure)])
  })

  test('a marker is not looked for where the target has none', () => {
    expect(failuresOf([run({ x: { replay: true } }, first)], { ...vars, marker: null })).toEqual([])
    expect(failuresOf([run({ x: { replay: true } }, first)], vars)).toHaveLength(1)
  })

  test('a lost connection matters only where an answer was expected', () => {
    const lost = { kind: 'failed', reason: 'reset' } as const
    expect(failuresOf([{ step: {}, exchanges: [lost], keys: [] }], vars)).toEqual([])
    expect(failuresOf([{ step: { x: { st: 201 } }, exchanges: [lost], keys: [] }], vars)).toEqual([
      'step 1: no answer: reset',
    ])
  })
})

describe('which cases apply', () => {
  const entry: ConformanceCase = {
    id: 'Q1',
    tier: 'option',
    t: 'q',
    fx: 0,
    needs: ['raw', 'do', 'h2'],
    s: [],
  }

  test.each([
    [{ caps: ['do', 'h2'] as const }, undefined],
    [{ caps: [] }, 'needs do, h2'],
    [{ caps: ['do', 'h2'] as const, tiers: ['core'] as const }, 'tier option is not asked for'],
    [{ caps: ['do', 'h2'] as const, skip: { Q1: 'known gap' } }, 'known gap'],
  ])('%j', (target, reason) => {
    expect(applicable(entry, target)).toBe(reason)
  })
})

describe('a case runs', () => {
  let target: StartedTarget
  beforeAll(async () => {
    target = await startReference()
  })
  afterAll(() => target.close())

  function failures(steps: string, fx: string, declared: Partial<TargetDescription> = {}): Promise<string[]> {
    const [entry] = parseCases(
      `bodies: {B: ''}\ncases: [{id: Q1, tier: core, t: q, fx: ${fx}, s: [${steps}]}]`,
    ).cases
    if (entry === undefined) throw new Error('no case')
    return runCase(entry, { ...target, caps: ['get'], name: 'reference', ...declared }).then(
      (result) => result.failures,
    )
  }

  test('effects are counted by probes where nothing counts them', async () => {
    expect(await failures('{k: A, b: B}, {k: Z, b: B}', '2', { caps: [] })).toEqual([])
    expect(await failures('{k: A, b: B}, {k: Z, b: B}', '[0, 1]', { caps: [] })).toEqual([
      '2 effects, expected 0 or 1',
    ])
  })

  test('several lines of the key are one malformed key', async () => {
    expect(await failures(`{klines: ['"{A}"', '"{A}"'], b: B, x: {st: $malformed}}`, '0')).toEqual([])
  })

  test('half a request has no effect', async () => {
    expect(await failures('{k: A, b: B, half: true, abort: 50}, {k: Z, b: B, x: {st: 201}}', '1')).toEqual([])
  })

  test('a request without a principal is refused', async () => {
    expect(await failures('{k: A, b: B, auth: null, x: {st: 401}}', '0')).toEqual([])
  })

  test('a store that was taken down is up again after a case that broke off', async () => {
    expect(await failures('{ctl: store-down}, {ctl: unheard-of}', '0')).toEqual([
      'Unknown harness action "unheard-of"',
    ])
    expect(await failures('{k: A, b: B, x: {st: 201}}', '1')).toEqual([])
  })

  test('an address that is missing fails the step', async () => {
    const steps = '{k: A, b: B, http: 2, at: 0, x: {st: 201}}'
    expect(await failures(steps, '0', { urlH2: '' })).toEqual([expect.stringContaining('has no urlH2')])
  })
})

function answer(
  status: number,
  body: string,
  fields: Record<string, string> = {},
  type = 'application/json',
): Answer {
  const headers = Object.entries({ 'Content-Type': type, ...fields })
  return { status, headers, body: Buffer.from(body), interim: [], faults: [], ttfbMs: 40, totalMs: 50 }
}

function run(step: Step, only: Answer): RunStep {
  return { step, exchanges: [{ kind: 'answer', answer: only }], keys: ['key-1'] }
}
