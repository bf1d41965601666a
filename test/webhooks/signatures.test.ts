/** What each provider signs is accepted, and nothing else. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { asymmetricPair, nowMs, providers, type Sent, stripe, type TestProvider } from './deliveries.ts'
import { codeOf, counted, deliver, secretOption } from './harness.ts'

const nowS = nowMs / 1000

function without(sent: Sent, name: string): Sent {
  return {
    ...sent,
    headers: Object.fromEntries(Object.entries(sent.headers).filter(([each]) => each !== name)),
  }
}

/** Between the elements of fields that are lists. What is added to a list takes nothing from it. */
const separators: Readonly<Record<string, string>> = {
  'stripe-signature': ',',
  'webhook-signature': ' ',
  'svix-signature': ' ',
}

/** Whether all that the provider wrote is still there. */
function isWhole(name: string, value: string, original: string): boolean {
  const separator = separators[name]
  if (separator === undefined) return value.trim() === original
  const elements = value.trim().split(separator)
  return original.split(separator).every((element) => elements.includes(element))
}

/** Where it is not 400: the id is a part of the signature, or the signature stands in for it. */
const statusWithoutId: Record<string, number> = { 'standard-webhooks': 401, svix: 401, slack: 200 }

describe.each(providers)('$provider', (provider: TestProvider) => {
  test('a delivery that its SDK signed is applied, with its id, type and payload', async () => {
    const { hook, events } = counted(provider)
    const sent = await provider.send({ id: 'evt_1' })
    expect(await deliver(hook, sent)).toMatchObject({ status: 200, text: '' })
    expect(events).toHaveLength(1)
    expect(events[0]).toMatchObject({ provider: provider.provider, id: 'evt_1' })
    expect(Buffer.from(events[0]?.body ?? []).toString()).toBe(sent.body)
    const expected = provider.provider === 'twilio' ? { Body: 'Hellö & welcome' } : JSON.parse(sent.body)
    expect(events[0]?.payload).toMatchObject(expected as object)
    if (provider.provider !== 'twilio') expect(events[0]?.type).toMatch(/^[\w./]+$/)
  })

  test('a changed, a cut and an empty body are refused', async () => {
    const { hook, events } = counted(provider)
    const sent = await provider.send({ id: 'evt_1' })
    for (const body of [`${sent.body} `, sent.body.slice(0, -1), sent.body.replace('e', 'E'), '']) {
      const answer = await deliver(hook, { ...sent, body })
      expect(answer.status).toBe(401)
      expect(codeOf(answer)).toBe('signature-invalid')
    }
    expect(events).toEqual([])
  })

  test('another secret is refused, and no answer holds the right one', async () => {
    const { hook, events } = counted(provider)
    const answer = await deliver(hook, await provider.send({ id: 'evt_1', secret: provider.otherSecret }))
    expect(answer.status).toBe(401)
    expect(answer.text + JSON.stringify([...answer.headers])).not.toContain(provider.secret)
    expect(events).toEqual([])
  })

  test('while a secret is rotated, both sign', async () => {
    const secrets = [provider.otherSecret, provider.secret]
    const { hook, events } = counted(provider, { [secretOption(provider)]: secrets })
    for (const [at, secret] of secrets.entries()) {
      expect(await deliver(hook, await provider.send({ id: `evt_${at}`, secret }))).toMatchObject({
        status: 200,
      })
    }
    expect(events).toHaveLength(2)
  })

  test.each(provider.signatureFields)('without %s, and with it twice, it is refused', async (name) => {
    const { hook, events } = counted(provider)
    const sent = await provider.send({ id: 'evt_1' })
    expect(await deliver(hook, without(sent, name))).toMatchObject({ status: 401 })
    const twice = new Request(sent.url, { method: 'POST', body: sent.body, headers: sent.headers })
    twice.headers.append(name, sent.headers[name] as string)
    expect((await hook.fetch(twice)).status).toBe(401)
    expect(events).toEqual([])
  })

  test.each(provider.signatureFields)('garbage in %s is refused, and nothing throws', async (name) => {
    const { hook, events } = counted(provider)
    const sent = await provider.send({ id: 'evt_1' })
    const original = sent.headers[name] as string
    const visible = fc.string({
      unit: fc.integer({ min: 0x21, max: 0xff }).map((code) => String.fromCharCode(code)),
    })
    const edited = fc
      .tuple(fc.nat(original.length), visible, fc.nat(8))
      .map(([at, text, cut]) => original.slice(0, at) + text + original.slice(at + cut))
    await fc.assert(
      fc.asyncProperty(fc.oneof(visible, edited), async (value) => {
        fc.pre(!isWhole(name, value, original))
        const answer = await deliver(hook, { ...sent, headers: { ...sent.headers, [name]: value } })
        // A certificate that cannot be fetched is no proof against the delivery.
        const refused = name === 'paypal-cert-url' ? [401, 503] : [401]
        expect(refused).toContain(answer.status)
      }),
      { numRuns: 200 },
    )
    expect(events).toEqual([])
  })

  test('an event without an id, or with one that is too long, is refused', async () => {
    const { hook, events } = counted(provider)
    const { idField } = provider
    const sent = await provider.send({ id: idField === undefined ? '' : 'evt_1' })
    const answer = await deliver(hook, idField === undefined ? sent : without(sent, idField))
    expect(answer.status).toBe(statusWithoutId[provider.provider] ?? 400)
    const long = await deliver(hook, await provider.send({ id: 'x'.repeat(256) }))
    expect(long.status).toBe(400)
    expect(codeOf(long)).toBe('event-malformed')
    expect(events).toHaveLength(answer.status === 200 ? 1 : 0)
  })
})

describe.each(providers.filter((each) => each.signsTime))(
  'the time of $provider',
  (provider: TestProvider) => {
    test('a time too far from now is refused, though it is signed', async () => {
      const { hook, events } = counted(provider)
      for (const sentAtS of [nowS - 301, nowS + 301]) {
        const answer = await deliver(hook, await provider.send({ id: 'evt_1', sentAtS }))
        expect(answer.status).toBe(401)
        expect(answer.text).toMatch(/too old|in the future/)
      }
      const wide = counted(provider, { tolerance: '10m' })
      for (const sentAtS of [nowS - 300, nowS + 300]) {
        expect(await deliver(hook, await provider.send({ id: 'evt_1', sentAtS }))).toMatchObject({
          status: 200,
        })
      }
      const late = await provider.send({ id: 'evt_1', sentAtS: nowS - 599 })
      expect(await deliver(wide.hook, late)).toMatchObject({ status: 200 })
      expect(events).toHaveLength(1)
    })
  },
)

test.each<[string, number, (signed: string) => string]>([
  ['nothing before it', 200, (signed) => `,${signed}`],
  ['nothing after it', 200, (signed) => `${signed},`],
  ['another version and a word', 200, (signed) => `v0=ab,${signed},new`],
  ['another order', 200, (signed) => signed.split(',').toReversed().join(',')],
  ['another time', 401, (signed) => `t=1,${signed}`],
  ['another version alone', 401, (signed) => signed.replace('v1=', 'v0=')],
])('what Stripe signed, with %s, is answered %i', async (_what, status, edited) => {
  const { hook } = counted(stripe)
  const sent = await stripe.send({ id: 'evt_1' })
  const signature = edited(sent.headers['stripe-signature'] as string)
  const headers = { ...sent.headers, 'stripe-signature': signature }
  expect((await deliver(hook, { ...sent, headers })).status).toBe(status)
})

describe('test vectors that providers publish', () => {
  test('Slack: a slash command', async () => {
    const body =
      'token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c'
    const { hook, events } = counted(providers.find((each) => each.provider === 'slack') as TestProvider, {
      now: () => 1_531_420_618_000,
    })
    const answer = await deliver(hook, {
      url: 'https://x.example/slack',
      body,
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        'x-slack-request-timestamp': '1531420618',
        'x-slack-signature': 'v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503',
      },
    })
    expect(answer.status).toBe(200)
    expect(events[0]).toMatchObject({
      id: '398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c',
      type: '/webhook-collect',
      payload: { user_name: 'roadrunner' },
    })
  })

  test('GitHub: a signature over text', async () => {
    const { hook } = counted(providers[1] as TestProvider, { secret: "It's a Secret to Everybody" })
    const answer = await deliver(hook, {
      url: 'https://x.example/github',
      body: 'Hello, World!',
      headers: {
        'x-github-delivery': 'd',
        'x-hub-signature-256': 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17',
      },
    })
    // The signature is right; the text is no event.
    expect(codeOf(answer)).toBe('event-malformed')
  })

  test('Standard Webhooks', async () => {
    const provider = providers.find((each) => each.provider === 'standard-webhooks') as TestProvider
    const { hook } = counted(provider, {
      secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
      now: () => 1_614_265_330_000,
    })
    const answer = await deliver(hook, {
      url: 'https://x.example/standard',
      body: '{"test": 2432232314}',
      headers: {
        'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
        'webhook-timestamp': '1614265330',
        'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
      },
    })
    expect(answer.status).toBe(200)
  })

  test('Twilio: a form at a URL with a query', async () => {
    const provider = providers.find((each) => each.provider === 'twilio') as TestProvider
    const { hook } = counted(provider, {
      secret: '12345',
      url: 'https://mycompany.com/myapp.php?foo=1&bar=2',
    })
    const fields = {
      CallSid: 'CA1234567890ABCDE',
      Caller: '+14158675309',
      Digits: '1234',
      From: '+14158675309',
      To: '+18005551212',
    }
    const answer = await deliver(hook, {
      url: 'http://10.0.0.7:3000/myapp.php?foo=1&bar=2',
      body: new URLSearchParams(fields).toString(),
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        'x-twilio-signature': 'RSOYDt4T1cUTdK1PDd93/VVr8B8=',
        'i-twilio-idempotency-token': 'token-1',
      },
    })
    expect(answer.status).toBe(200)
  })
})

describe('Standard Webhooks with public keys', () => {
  const provider = providers.find((each) => each.provider === 'standard-webhooks') as TestProvider
  const body = '{"type":"user.created"}'

  function signedBy(signature: string): Sent {
    const headers = {
      'webhook-id': 'msg_1',
      'webhook-timestamp': String(nowS),
      'webhook-signature': signature,
    }
    return { url: 'https://x.example/in', body, headers }
  }

  test('one that fits is accepted, also beside signatures of other keys and versions', async () => {
    const pair = asymmetricPair()
    const other = asymmetricPair()
    const signed = `msg_1.${nowS}.${body}`
    const { hook } = counted(provider, { secret: pair.publicKey })
    expect(await deliver(hook, signedBy(other.sign(signed)))).toMatchObject({ status: 401 })
    expect(await deliver(hook, signedBy(pair.sign(`${signed} `)))).toMatchObject({ status: 401 })
    // The octets of a signature of one version do not pass for another.
    expect(await deliver(hook, signedBy(pair.sign(signed).replace('v1a,', 'v1,')))).toMatchObject({
      status: 401,
    })
    const several = `v1,AAAA ${other.sign(signed)} v2,x ${pair.sign(signed)}`
    expect(await deliver(hook, signedBy(several))).toMatchObject({ status: 200 })
  })
})
