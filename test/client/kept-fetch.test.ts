/** Calls that name their intent, against a real server. */
import { describe, expect, test } from 'vitest'
import { freePort } from '../../scripts/servers/process.ts'
import {
  callOf,
  createIdempotentFetch,
  type IdempotentFetchOptions,
  isClientError,
} from '../../src/client/index.ts'
import {
  forgetKept,
  KeeperError,
  type KeptCall,
  keptFetch,
  type KeptFetch,
  type KeptInit,
  type KeyKeeper,
  memoryKeeper,
  resumeKept,
} from '../../src/client/keepers/index.ts'
import { type Charges, keysOf, startCharges } from './charges.ts'
import { aCall } from './keeper-conformance.ts'

const intent = ['pay', 7, 100] as const
const hourMs = 3_600_000

/** A client that gives up soon, so that a fault is the end of a call. */
function client(keeper: KeyKeeper, options: IdempotentFetchOptions = {}): KeptFetch {
  const fetch = createIdempotentFetch({ retries: 0, backoff: 1, timeout: '10s', ...options })
  return keptFetch({ fetch, keeper })
}

function press(pay: KeptFetch, { origin }: Charges, init: KeptInit = {}): Promise<Response> {
  return pay(`${origin}/charges`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: 'Bearer secret' },
    body: '{"amount":100}',
    idempotency: { intent },
    ...init,
  })
}

const endOf = (call: Promise<Response>): Promise<unknown> =>
  call
    .then(({ status }) => status)
    .catch((error: { code?: string; name: string }) => error.code ?? error.name)

describe('one intent', () => {
  test('a double click is one flight, and each caller reads its own response', async () => {
    const charges = await startCharges()
    const pay = client(memoryKeeper())
    const responses = await Promise.all([press(pay, charges), press(pay, charges), press(pay, charges)])
    expect(await Promise.all(responses.map((response) => response.json()))).toEqual(Array(3).fill({ id: 1 }))
    expect(responses.map(({ status, url }) => [status, url])).toEqual(
      Array(3).fill([201, `${charges.origin}/charges`]),
    )
    expect(responses.map((response) => callOf(response)?.key)).toEqual(
      Array(3).fill(keysOf(charges)[0]?.replaceAll('"', '')),
    )
    expect(charges.arrivals).toHaveLength(1)
  })

  test('a press after the answer is a new call', async () => {
    const charges = await startCharges()
    const keeper = memoryKeeper()
    const pay = client(keeper)
    await press(pay, charges)
    await press(pay, charges)
    expect(keysOf(charges)).toHaveLength(2)
    expect(charges.effects).toHaveLength(2)
    expect(await keeper.list()).toEqual([])
  })

  test('with keepAfterDone a late press gets the stored answer', async () => {
    const charges = await startCharges()
    const pay = client(memoryKeeper({ keepAfterDone: '1m' }))
    const first = await press(pay, charges)
    const second = await press(pay, charges)
    expect(await second.json()).toEqual(await first.json())
    expect(callOf(second)?.replayed).toBe(true)
    expect(charges.effects).toHaveLength(1)
    expect(keysOf(charges)).toHaveLength(1)
  })

  test('a refusal is not repeated by keepAfterDone: a declined card may have money by now', async () => {
    const charges = await startCharges()
    const pay = client(memoryKeeper({ keepAfterDone: '1m' }))
    for (const _ of [1, 2]) expect((await press(pay, charges, { body: 'declined' })).status).toBe(402)
    expect(keysOf(charges)).toHaveLength(2)
  })

  test('an edited request is a new key, also while the first is on its way', async () => {
    const charges = await startCharges()
    const replaced: KeptCall[] = []
    const keeper = memoryKeeper()
    const fetch = createIdempotentFetch({ retries: 0 })
    const pay = keptFetch({ fetch, keeper, onReplaced: (call) => void replaced.push(call) })
    const gate = Promise.withResolvers<void>()
    const arrived = Promise.withResolvers<void>()
    charges.beforeEffect = () => {
      charges.beforeEffect = () => {}
      arrived.resolve()
      return gate.promise
    }
    const first = press(pay, charges)
    await arrived.promise
    const edited = await press(pay, charges, { body: '{"amount":200}' })
    gate.resolve()
    expect([edited.status, (await first).status]).toEqual([201, 201])
    expect(keysOf(charges)).toHaveLength(2)
    expect(replaced.map(({ body }) => body)).toEqual(['{"amount":100}'])
    expect(await keeper.list()).toEqual([])
  })

  test('text and parts name the same intent only where they are the same', async () => {
    const charges = await startCharges()
    const keeper = memoryKeeper({ keepAfterDone: '1m' })
    const pay = client(keeper)
    await press(pay, charges, { idempotency: { intent: ['pay', 'a:b'] } })
    await press(pay, charges, { idempotency: { intent: ['pay', 'a', 'b'] } })
    await press(pay, charges, { idempotency: { intent: 'pay:a:b' } })
    expect(charges.effects).toHaveLength(2)
  })

  test('a call without an intent is sent as before, and not kept', async () => {
    const charges = await startCharges()
    const keeper = memoryKeeper()
    const pay = client(keeper)
    charges.faults.push('lost')
    expect(await endOf(press(pay, charges, { idempotency: {} }))).toBe('outcome-unknown')
    expect(await keeper.list()).toEqual([])
  })
})

describe('what is kept', () => {
  test.each([
    ['text', 'Grüße \u{1F9FE}', Buffer.from('Grüße \u{1F9FE}')],
    ['half a character', 'a\uD83Eb', Buffer.from('a\uFFFDb')],
    [
      'octets',
      Uint8Array.from({ length: 256 }, (_, at) => at),
      Buffer.from(Uint8Array.from({ length: 256 }, (_, at) => at)),
    ],
  ])('the octets of the first attempt are sent again: %s', async (_, body, octets) => {
    const charges = await startCharges()
    const keeper = memoryKeeper()
    charges.faults.push('lost', 'lost')
    for (const _press of [1, 2]) {
      expect(await endOf(press(client(keeper), charges, { body }))).toBe('outcome-unknown')
    }
    expect(await endOf(press(client(keeper), charges, { body }))).toBe(201)
    expect(charges.arrivals.map((arrival) => arrival.octets)).toEqual([octets, octets, octets])
    expect(keysOf(charges)).toHaveLength(1)
    expect(charges.effects).toHaveLength(1)
  })

  test('a form gets its boundary once, and a resumed one has it still', async () => {
    const charges = await startCharges()
    const keeper = memoryKeeper()
    const body = new FormData()
    body.set('file', new Blob([Uint8Array.of(0, 255, 13, 10)]), 'a.bin')
    charges.faults.push('lost')
    expect(await endOf(press(client(keeper), charges, { body, headers: {} }))).toBe('outcome-unknown')
    const fetch = createIdempotentFetch()
    expect(await resumeKept({ fetch, keeper })).toMatchObject([{ end: 'answered' }])
    const [first, second] = charges.arrivals
    expect(second).toEqual(first)
    expect(first?.contentType).toMatch(/^multipart\/form-data; boundary=/)
    expect(charges.effects).toHaveLength(1)
  })

  test('a Request is as good as a URL', async () => {
    const charges = await startCharges()
    const keeper = memoryKeeper()
    charges.faults.push('lost')
    const request = (): Request =>
      new Request(`${charges.origin}/charges`, { method: 'POST', body: 'hello', headers: { 'x-a': '1' } })
    const pay = client(keeper)
    const idempotency = { intent }
    expect(await endOf(pay(request(), { idempotency }))).toBe('outcome-unknown')
    expect(await endOf(pay(request(), { idempotency }))).toBe(201)
    expect(charges.arrivals.map(({ octets }) => octets.toString())).toEqual(['hello', 'hello'])
    expect(keysOf(charges)).toHaveLength(1)
  })

  test('no credentials', async () => {
    const charges = await startCharges()
    const keeper = memoryKeeper()
    charges.faults.push('lost')
    await endOf(
      press(client(keeper), charges, { headers: { authorization: 'Bearer secret', cookie: 'secret' } }),
    )
    const kept = await keeper.list()
    expect(kept).toHaveLength(1)
    expect(JSON.stringify(kept)).not.toContain('secret')
    for (const name of ['Authorization', 'cookie', 'x-api-key', 'x-csrf-token']) {
      expect(() => keptFetch({ fetch: createIdempotentFetch(), keeper, keptFields: [name] })).toThrow(
        'keptFields',
      )
    }
  })

  test('nothing is sent before it is kept', async () => {
    const charges = await startCharges()
    const kept = memoryKeeper()
    const order: string[] = []
    const keeper: KeyKeeper = {
      ...kept,
      async keep(call) {
        const answer = await kept.keep(call)
        await new Promise(setImmediate)
        order.push(`kept, ${charges.arrivals.length} sent`)
        return answer
      },
    }
    await press(client(keeper), charges)
    expect(order).toEqual(['kept, 0 sent'])
  })

  test('a call that cannot be kept is not sent', async () => {
    const charges = await startCharges()
    const pay = client(memoryKeeper({ callsMax: 1, bodyBytesMax: 20 }))
    charges.faults.push('lost')
    await endOf(press(pay, charges))
    await expect(press(pay, charges, { idempotency: { intent: 'other' } })).rejects.toThrow(KeeperError)
    await expect(press(pay, charges, { body: 'x'.repeat(21) })).rejects.toMatchObject({ reason: 'too-large' })
    expect(charges.arrivals).toHaveLength(1)
  })

  test('a key in a field would not survive, so it is refused', async () => {
    const charges = await startCharges()
    const pay = client(memoryKeeper())
    await expect(press(pay, charges, { headers: { 'Idempotency-Key': 'mine' } })).rejects.toThrow(
      'idempotency.key',
    )
    await press(pay, charges, { idempotency: { intent, key: 'mine' } })
    expect(keysOf(charges)).toEqual(['"mine"'])
  })
})

describe('how a call ends', () => {
  test('turned away: the next press is a new call', async () => {
    const charges = await startCharges()
    const keeper = memoryKeeper({ keepAfterDone: '1m' })
    charges.faults.push(429, 401)
    const pay = client(keeper)
    expect(await endOf(press(pay, charges))).toBe(429)
    expect(await endOf(press(pay, charges))).toBe(401)
    expect(await endOf(press(pay, charges))).toBe(201)
    expect(keysOf(charges)).toHaveLength(3)
    expect(await keeper.list()).toEqual([])
  })

  test('never sent: nothing is left', async () => {
    const keeper = memoryKeeper()
    const call = client(keeper)(`http://127.0.0.1:${await freePort()}/charges`, {
      method: 'POST',
      idempotency: { intent },
    })
    expect(await endOf(call)).toBe('not-applied')
    expect(await keeper.list()).toEqual([])
  })

  test('an option that is wrong keeps nothing', async () => {
    const charges = await startCharges()
    const keeper = memoryKeeper()
    const call = press(client(keeper), charges, { idempotency: { intent, key: 'a b' } })
    expect(await endOf(call)).toBe('option-invalid')
    expect(await keeper.list()).toEqual([])
  })

  test('refused at the first attempt: nothing is left; refused after a lost one: it stays', async () => {
    const charges = await startCharges()
    const keeper = memoryKeeper()
    const pay = client(keeper)
    await press(pay, charges, { body: 'other', idempotency: { intent: 'other', key: 'same' } })
    const idempotency = { intent, key: 'same' }
    expect(await endOf(press(pay, charges, { idempotency }))).toBe('key-refused')
    expect(await keeper.list()).toEqual([])
    charges.faults.push('refused')
    expect(await endOf(press(pay, charges, { idempotency }))).toBe('outcome-unknown')
    expect(await endOf(press(pay, charges, { idempotency }))).toBe('key-refused')
    expect(await keeper.list()).toHaveLength(1)
  })

  test('a lost answer is remembered: where the next press sends nothing, the outcome is still unknown', async () => {
    const charges = await startCharges()
    const keeper = memoryKeeper()
    charges.faults.push('lost', 401)
    expect(await endOf(press(client(keeper), charges))).toBe('outcome-unknown')
    expect(await endOf(press(client(keeper), charges))).toBe('outcome-unknown')
    expect(await keeper.list()).toHaveLength(1)
  })

  test('past the horizon the call stays, and is not sent, until it is given up', async () => {
    const charges = await startCharges()
    const keeper = memoryKeeper()
    await keeper.keep(aKeptCharge(charges, { createdAt: Date.now() - 13 * hourMs }))
    const pay = client(keeper)
    expect(await endOf(press(pay, charges))).toBe('horizon-passed')
    expect(await endOf(press(pay, charges))).toBe('horizon-passed')
    expect(charges.arrivals).toHaveLength(0)
    expect(await forgetKept(keeper, intent)).toBe(true)
    expect(await forgetKept(keeper, intent)).toBe(false)
    expect(await endOf(press(pay, charges))).toBe(201)
  })

  test('a call is given up by the name that it was made by, also where it is done and remembered', async () => {
    const charges = await startCharges()
    const keeper = memoryKeeper({ keepAfterDone: '1m' })
    const pay = client(keeper)
    // Half a character is sent, kept and looked for as the same.
    const half = 'pay\uD83E'
    charges.faults.push('lost')
    expect(await endOf(press(pay, charges, { idempotency: { intent: half } }))).toBe('outcome-unknown')
    expect(await forgetKept(keeper, half)).toBe(true)
    expect(await keeper.list()).toEqual([])
    expect(await endOf(press(pay, charges, { idempotency: { intent: half } }))).toBe(201)
    expect(keysOf(charges)).toHaveLength(2)
    expect(await forgetKept(keeper, half)).toBe(true)
    expect(await endOf(press(pay, charges, { idempotency: { intent: half } }))).toBe(201)
    expect(keysOf(charges)).toHaveLength(3)
    expect(charges.effects).toHaveLength(3)
  })

  test('sent on to another origin: nothing was done, and the next press is a new call', async () => {
    const charges = await startCharges()
    const keeper = memoryKeeper({ keepAfterDone: '1m' })
    charges.app.post('/moved', (_req, res) => res.redirect(307, 'http://127.0.0.1:9/charges'))
    const pay = client(keeper)
    const call = pay(`${charges.origin}/moved`, { method: 'POST', body: 'x', idempotency: { intent } })
    expect(await endOf(call)).toBe(307)
    expect(await keeper.find('pay:7:100')).toBeUndefined()
  })

  test('an outcome that cannot be settled is told, and the answer given', async () => {
    const charges = await startCharges()
    const keeper = memoryKeeper()
    const broken = { ...keeper, settle: () => Promise.reject(new KeeperError('unavailable')) }
    const told: unknown[] = []
    const onUnsettled = (error: KeeperError, { intent: of }: KeptCall): void =>
      void told.push([error.reason, of])
    const pay = keptFetch({ fetch: createIdempotentFetch(), keeper: broken, onUnsettled })
    expect(await endOf(press(pay, charges))).toBe(201)
    expect(told).toEqual([['unavailable', 'pay:7:100']])
    expect(await resumeKept({ fetch: createIdempotentFetch(), keeper })).toMatchObject([{ end: 'answered' }])
    expect(charges.effects).toHaveLength(1)
  })
})

describe('aborts', () => {
  test('a caller that leaves does not end the flight of another', async () => {
    const charges = await startCharges()
    const keeper = memoryKeeper()
    const pay = client(keeper)
    const leaving = new AbortController()
    charges.beforeEffect = () => leaving.abort(new Error('left'))
    const [first, second] = [press(pay, charges, { signal: leaving.signal }), press(pay, charges)]
    await expect(first).rejects.toThrow('left')
    expect(await endOf(second)).toBe(201)
    expect(charges.arrivals).toHaveLength(1)
  })

  test('what was sent before the abort is kept, and the next press has the same key', async () => {
    const charges = await startCharges()
    const keeper = memoryKeeper()
    const pay = client(keeper, { retries: 4 })
    const leaving = new AbortController()
    charges.beforeEffect = () => leaving.abort(new Error('left'))
    await expect(press(pay, charges, { signal: leaving.signal })).rejects.toThrow('left')
    expect(await keeper.list()).toHaveLength(1)
    expect(await endOf(press(pay, charges))).toBe(201)
    expect(keysOf(charges)).toHaveLength(1)
    expect(charges.effects).toHaveLength(1)
  })

  test('nothing is left of what was aborted before it was sent', async () => {
    const charges = await startCharges()
    const kept = memoryKeeper()
    const leaving = new AbortController()
    const keeper: KeyKeeper = {
      ...kept,
      async keep(call) {
        const answer = await kept.keep(call)
        leaving.abort(new Error('left'))
        return answer
      },
    }
    await expect(press(client(keeper), charges, { signal: leaving.signal })).rejects.toThrow('left')
    expect(await kept.list()).toEqual([])
    expect(charges.arrivals).toHaveLength(0)
  })
})

function aKeptCharge({ origin }: Charges, fields: Partial<KeptCall> = {}): KeptCall {
  return aCall({ intent: 'pay:7:100', url: `${origin}/charges`, ...fields })
}

describe('resume', () => {
  test('sends what is left, the oldest first, with the credentials of now', async () => {
    const charges = await startCharges()
    const keeper = memoryKeeper()
    const now = Date.now()
    for (const ago of [1, 3, 2]) {
      await keeper.keep(aKeptCharge(charges, { intent: `${ago}`, body: `${ago}`, createdAt: now - ago }))
    }
    const resumed = await resumeKept({
      fetch: createIdempotentFetch(),
      keeper,
      concurrency: 1,
      headers: ({ intent: of }) => ({ authorization: `Bearer ${of}`, 'content-type': 'text/html' }),
    })
    expect(resumed.map(({ end, call }) => [end, call.intent])).toEqual([
      ['answered', '3'],
      ['answered', '2'],
      ['answered', '1'],
    ])
    expect(charges.arrivals.map(({ authorization }) => authorization)).toEqual([
      'Bearer 3',
      'Bearer 2',
      'Bearer 1',
    ])
    // What belongs to the octets is as it was.
    expect(new Set(charges.arrivals.map(({ contentType }) => contentType))).toEqual(
      new Set(['application/json']),
    )
    expect(charges.effects.map(String)).toEqual(['3', '2', '1'])
    expect(await keeper.list()).toEqual([])
  })

  test('tells what is still unknown, and what is too old to be sent', async () => {
    const charges = await startCharges()
    const keeper = memoryKeeper()
    const old = aKeptCharge(charges, { intent: 'old', createdAt: Date.now() - 13 * hourMs })
    const young = aKeptCharge(charges, { intent: 'young' })
    await keeper.keep(old)
    await keeper.keep(young)
    charges.faults.push(401, 'refused')
    const fetch = createIdempotentFetch({ retries: 0 })
    for (const _ of [1, 2]) {
      const resumed = await resumeKept({ fetch, keeper })
      expect(resumed).toMatchObject([
        { end: 'past-horizon', call: { intent: 'old' } },
        { end: 'unknown', call: { intent: 'young' } },
      ])
      expect(resumed.map((each) => 'error' in each && isClientError(each.error))).toEqual([true, true])
    }
    const given: KeptCall[] = []
    await resumeKept({ fetch, keeper, onPastHorizon: (call) => void given.push(call) })
    expect(given).toEqual([old])
    expect(await keeper.list()).toEqual([])
    expect(charges.effects).toHaveLength(1)
  })

  test('what its listener throws is the end of that call alone, which stays', async () => {
    const charges = await startCharges()
    const keeper = memoryKeeper()
    await keeper.keep(aKeptCharge(charges, { intent: 'old', createdAt: Date.now() - 13 * hourMs }))
    for (const of of ['1', '2', '3']) await keeper.keep(aKeptCharge(charges, { intent: of, body: of }))
    const error = new Error('reconciling failed')
    const resumed = await resumeKept({
      fetch: createIdempotentFetch(),
      keeper,
      onPastHorizon: () => Promise.reject(error),
    })
    expect(resumed.map(({ end }) => end)).toEqual(['unknown', 'answered', 'answered', 'answered'])
    expect(resumed[0]).toMatchObject({ call: { intent: 'old' }, error })
    expect((await keeper.list()).map(({ intent: of }) => of)).toEqual(['old'])
  })

  test('lists the calls once, however many there are', async () => {
    const charges = await startCharges()
    const kept = memoryKeeper()
    for (const of of ['1', '2', '3']) await kept.keep(aKeptCharge(charges, { intent: of, body: of }))
    let lists = 0
    const keeper: KeyKeeper = { ...kept, list: () => ((lists += 1), kept.list()) }
    expect(await resumeKept({ fetch: createIdempotentFetch(), keeper })).toHaveLength(3)
    expect(lists).toBe(1)
  })

  test('a press while it resumes shares the flight', async () => {
    const charges = await startCharges()
    const keeper = memoryKeeper()
    await keeper.keep(aKeptCharge(charges))
    const fetch = createIdempotentFetch()
    const resuming = resumeKept({ fetch, keeper })
    const arrived = Promise.withResolvers<void>()
    const gate = Promise.withResolvers<void>()
    charges.beforeEffect = () => {
      arrived.resolve()
      return gate.promise
    }
    await arrived.promise
    const pressed = press(keptFetch({ fetch, keeper }), charges)
    await new Promise(setImmediate)
    gate.resolve()
    expect(await (await pressed).json()).toEqual({ id: 1 })
    expect(await resuming).toMatchObject([{ end: 'answered' }])
    expect(charges.arrivals).toHaveLength(1)
  })

  test('what another process settled meanwhile is not sent', async () => {
    const charges = await startCharges()
    const kept = memoryKeeper()
    const call = aKeptCharge(charges)
    await kept.keep(call)
    const keeper: KeyKeeper = {
      ...kept,
      async hold(_call, _signal, send) {
        await kept.settle(call)
        return await send()
      },
    }
    expect(await resumeKept({ fetch: createIdempotentFetch(), keeper })).toEqual([{ end: 'elsewhere', call }])
    expect(charges.arrivals).toHaveLength(0)
  })

  test('a signal leaves what was not sent for the next time', async () => {
    const charges = await startCharges()
    const keeper = memoryKeeper()
    for (const of of ['1', '2', '3']) await keeper.keep(aKeptCharge(charges, { intent: of, body: of }))
    const stop = new AbortController()
    charges.beforeEffect = () => stop.abort(new Error('stop'))
    const fetch = createIdempotentFetch()
    const resumed = await resumeKept({ fetch, keeper, concurrency: 1, signal: stop.signal })
    expect(resumed).toMatchObject([{ end: 'unknown' }])
    expect(await keeper.list()).toHaveLength(3)
    expect(charges.arrivals).toHaveLength(1)
  })

  test('options that break a rule are refused', async () => {
    const fetch = createIdempotentFetch()
    for (const concurrency of [0, 1.5, 101]) {
      await expect(resumeKept({ fetch, keeper: memoryKeeper(), concurrency })).rejects.toThrow('concurrency')
    }
  })
})
