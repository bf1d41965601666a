/** An event is applied once, acknowledged when that is stored, and never lost. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import {
  createIdempotency,
  type IdempotencyStore,
  InvalidOptionError,
  memoryStore,
  StoreError,
} from '../../src/index.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { webhook, webhookTransaction } from '../../src/webhooks/index.ts'
import { eventually } from '../eventually.ts'
import {
  github,
  nowMs,
  paypal,
  providers,
  slack,
  stripe,
  type TestProvider,
  twilioSms,
} from './deliveries.ts'
import { otherCertificate, paypalCertificate } from './certificates.ts'
import { codeOf, counted, deliver, instance, optionsOf } from './harness.ts'

function provider(name: string): TestProvider {
  return providers.find((each) => each.provider === name) as TestProvider
}

/** A promise and what resolves it. */
function gate(): { passed: Promise<void>; open: () => void } {
  let open = (): void => {}
  const passed = new Promise<void>((resolve) => {
    open = resolve
  })
  return { passed, open }
}

describe('duplicates', () => {
  test.each(providers)('$provider: twenty deliveries at once are one effect', async (each) => {
    const running = gate()
    const { hook, events } = counted(each, {}, () => running.passed)
    const sent = await each.send({ id: 'evt_1' })
    const first = deliver(hook, sent)
    await eventually(() => expect(events).toHaveLength(1))
    const others = await Promise.all(Array.from({ length: 19 }, () => deliver(hook, sent)))
    for (const answer of others) {
      // Never 2xx: were the first one to fail, nobody would send the event again.
      expect(answer.status).toBe(503)
      expect(codeOf(answer)).toBe('in-progress')
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
    }
    running.open()
    expect(await first).toMatchObject({ status: 200 })
    const late = await deliver(hook, sent)
    expect(late.status).toBe(200)
    expect(late.headers.get('idempotent-replayed')).toBe('true')
    expect(events).toHaveLength(1)
  })

  test('a delivery whose body counts other things is the same event', async () => {
    const { hook, events } = counted(stripe)
    await deliver(hook, await stripe.send({ id: 'evt_1', more: { pending_webhooks: 2 } }))
    const again = await deliver(hook, await stripe.send({ id: 'evt_1', more: { pending_webhooks: 1 } }))
    expect(again).toMatchObject({ status: 200 })
    expect(events).toHaveLength(1)
  })

  test('one id for two types is a fault that nobody runs over', async () => {
    const { hook, events } = counted(stripe)
    await deliver(hook, await stripe.send({ id: 'evt_1' }))
    const other = await deliver(hook, await stripe.send({ id: 'evt_1', more: { type: 'invoice.voided' } }))
    expect(other.status).toBe(422)
    expect(events).toHaveLength(1)
  })

  test('after its retention a tombstone acknowledges an event, and does not run it', async () => {
    const { hook, events } = counted(stripe, { retention: 1, tombstone: '1d' })
    const sent = await stripe.send({ id: 'evt_1' })
    await deliver(hook, sent)
    await eventually(async () => {
      const answer = await deliver(hook, sent)
      expect(answer.status).toBe(200)
      expect(answer.headers.get('idempotent-replayed')).toBe('true')
    })
    expect(events).toHaveLength(1)
  })

  test('two endpoints, two providers and two accounts are applied each', async () => {
    const idem = instance()
    const hooks = [
      counted(github, { name: 'deploy' }, undefined, idem),
      counted(github, { name: 'audit' }, undefined, idem),
      counted(github, { name: 'deploy', principal: () => 'tenant-7' }, undefined, idem),
    ]
    const sent = await github.send({ id: 'same' })
    for (const { hook } of hooks) expect(await deliver(hook, sent)).toMatchObject({ status: 200 })
    const other = counted(stripe, { name: 'deploy' }, undefined, idem)
    await deliver(other.hook, await stripe.send({ id: 'same' }))
    for (const { events } of [...hooks, other]) expect(events).toHaveLength(1)
  })

  test('what one delivery was answered, every later one is', async () => {
    const twiml = '<Response><Message>Hi</Message></Response>'
    const { hook, events } = counted(twilioSms, {}, (_event, run) =>
      run.answer({ contentType: 'text/xml', body: twiml }),
    )
    const sent = await twilioSms.send({ id: 'token' })
    for (const replayed of [null, 'true']) {
      const answer = await deliver(hook, sent)
      expect(answer).toMatchObject({ status: 200, text: twiml })
      expect(answer.headers.get('content-type')).toBe('text/xml')
      expect(answer.headers.get('idempotent-replayed')).toBe(replayed)
    }
    expect(events).toHaveLength(1)
  })
})

describe('failures', () => {
  test('a handler that throws releases the event, and the next delivery runs', async () => {
    let fails = true
    const { hook, events } = counted(stripe, {}, () => {
      if (fails) throw new Error('the database is away')
    })
    const sent = await stripe.send({ id: 'evt_1' })
    await expect(deliver(hook, sent)).rejects.toThrow('the database is away')
    fails = false
    expect(await deliver(hook, sent)).toMatchObject({ status: 200 })
    expect(events).toHaveLength(2)
  })

  test('an answer that is no acknowledgement fails the handler', async () => {
    const { hook } = counted(stripe, {}, (_event, run) =>
      run.answer({ status: 500, contentType: 'text/plain', body: '' }),
    )
    await expect(deliver(hook, await stripe.send({ id: 'evt_1' }))).rejects.toThrow('200 to 299')
  })

  test('an effect that may have happened is held, and reconciled where there is a function', async () => {
    const idem = instance()
    const sent = await stripe.send({ id: 'evt_1' })
    const failing = counted(
      stripe,
      { onError: 'unknown' },
      () => {
        throw new Error('cut off')
      },
      idem,
    )
    await expect(deliver(failing.hook, sent)).rejects.toThrow('cut off')
    const held = await deliver(failing.hook, sent)
    expect(held.status).toBe(503)
    expect(codeOf(held)).toBe('outcome-unknown')
    expect(failing.events).toHaveLength(1)
    const asked: string[] = []
    const reconciling = counted(
      stripe,
      {
        onUnknown: 'reconcile',
        reconcile: async (event: { id: string }) => {
          asked.push(event.id)
          return 'applied'
        },
      },
      undefined,
      idem,
    )
    expect(await deliver(reconciling.hook, sent)).toMatchObject({ status: 200 })
    expect(asked).toEqual(['evt_1'])
    expect(reconciling.events).toEqual([])
  })

  test('with the store away nothing runs, and the provider is told to come again', async () => {
    const store: IdempotencyStore = memoryStore()
    const away: IdempotencyStore = {
      ...store,
      claim: () => Promise.reject(new StoreError('permanent', 'No store.')),
    }
    const { hook, events } = counted(stripe, {}, undefined, createIdempotency({ store: away, sweep: false }))
    const answer = await deliver(hook, await stripe.send({ id: 'evt_1' }))
    expect(answer.status).toBe(503)
    expect(codeOf(answer)).toBe('store-unavailable')
    expect(events).toEqual([])
  })

  test('a closed instance sends the event back', async () => {
    const idem = createIdempotency({ store: memoryStore(), sweep: false })
    const { hook } = counted(stripe, {}, undefined, idem)
    await idem.close()
    const answer = await deliver(hook, await stripe.send({ id: 'evt_1' }))
    expect(answer.status).toBe(503)
    expect(codeOf(answer)).toBe('closed')
  })
})

describe('in a transaction', () => {
  test('effect and record commit together, or neither does', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'webhooks-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const store = sqliteStore({ file: join(folder, 'records.db') })
    await using idem = createIdempotency({ store, sweep: false })
    let fails = true
    const hook = webhookTransaction(idem, 'stripe', optionsOf(stripe), async (event, { tx }) => {
      tx.exec('create table if not exists paid (event text)')
      tx.prepare('insert into paid values (?)').run(event.id)
      if (fails) throw new Error('after the effect')
    })
    const rows = webhookTransaction(
      idem,
      'stripe',
      optionsOf(stripe, { name: 'rows' }),
      (_event, { tx, answer }) => {
        tx.exec('create table if not exists paid (event text)')
        answer({
          contentType: 'text/plain',
          body: JSON.stringify(tx.prepare('select event from paid').all()),
        })
      },
    )
    const sent = await stripe.send({ id: 'evt_1' })
    await expect(deliver(hook, sent)).rejects.toThrow('after the effect')
    expect((await deliver(rows, await stripe.send({ id: 'evt_2' }))).text).toBe('[]')
    fails = false
    expect(await deliver(hook, sent)).toMatchObject({ status: 200 })
    expect(await deliver(hook, sent)).toMatchObject({ status: 200 })
    expect((await deliver(rows, await stripe.send({ id: 'evt_3' }))).text).toBe('[{"event":"evt_1"}]')
  })
})

describe('accounts that share an endpoint', () => {
  const secrets: Record<string, string> = { a: 'secret of a', b: 'secret of b' }

  test('each has its secret and its events', async () => {
    const { hook, events } = counted(github, {
      secret: (delivery: { url: string }) => secrets[new URL(delivery.url).searchParams.get('tenant') ?? ''],
      principal: (delivery: { url: string }) => new URL(delivery.url).searchParams.get('tenant') ?? '',
    })
    const send = async (tenant: string, secret: string): Promise<number> => {
      const sent = await github.send({ id: 'same', secret })
      return (await deliver(hook, { ...sent, url: `https://x.example/?tenant=${tenant}` })).status
    }
    expect(await send('a', 'secret of a')).toBe(200)
    expect(await send('b', 'secret of a')).toBe(401)
    expect(await send('b', 'secret of b')).toBe(200)
    expect(await send('nobody', 'secret of a')).toBe(401)
    expect(events).toHaveLength(2)
  })

  test('a secret found for each delivery needs a principal found for each', () => {
    const options = { name: 'x', secret: () => 's' }
    expect(() => webhook(instance(), 'github', options, () => {})).toThrow(/principal is required/)
  })
})

describe('Slack', () => {
  test('the challenge of a new URL is answered once it is verified, and is no event', async () => {
    const { hook, events } = counted(slack)
    const more = { type: 'url_verification', challenge: '3eZbrw1a' }
    expect(await deliver(hook, await slack.send({ id: '', more }))).toMatchObject({
      status: 200,
      text: '3eZbrw1a',
    })
    const forged = await slack.send({ id: '', more, secret: 'x' })
    expect(await deliver(hook, forged)).toMatchObject({ status: 401 })
    expect(events).toEqual([])
  })
})

describe('Twilio', () => {
  test('a JSON body counts only where the signed URL has its digest', async () => {
    const { default: sdk } = await import('twilio')
    const body = '{"event":"delivered"}'
    const url = `https://hooks.example.com/in?bodySHA256=${sdk.getExpectedBodyHash(body)}`
    const headers = {
      'content-type': 'application/json',
      'i-twilio-idempotency-token': 't',
      'x-twilio-signature': sdk.getExpectedTwilioSignature(twilioSms.secret, url, {}),
    }
    const { hook, events } = counted(twilioSms)
    expect(await deliver(hook, { url, headers, body })).toMatchObject({ status: 200 })
    expect(await deliver(hook, { url, headers, body: `${body} ` })).toMatchObject({ status: 401 })
    const bare = 'https://hooks.example.com/in'
    const signature = sdk.getExpectedTwilioSignature(twilioSms.secret, bare, {})
    const uncovered = { url: bare, headers: { ...headers, 'x-twilio-signature': signature }, body }
    expect(await deliver(hook, uncovered)).toMatchObject({ status: 401 })
    expect(events).toHaveLength(1)
  })

  test('behind a proxy the registered URL is what is signed; its port is optional', async () => {
    const sent = await twilioSms.send({ id: 't' })
    const behind = { ...sent, url: 'http://10.0.0.7:3000/in?tenant=7' }
    const { hook: blind } = counted(twilioSms)
    expect(await deliver(blind, behind)).toMatchObject({ status: 401 })
    for (const url of ['https://hooks.example.com/in', 'https://hooks.example.com:443/in']) {
      const { hook } = counted(twilioSms, { url })
      expect(await deliver(hook, behind)).toMatchObject({ status: 200 })
    }
  })

  test('a GET has its fields in the URL that was verified', async () => {
    const { default: sdk } = await import('twilio')
    const url = 'https://hooks.example.com/in?Digits=1'
    const headers = {
      'i-twilio-idempotency-token': 't',
      'x-twilio-signature': sdk.getExpectedTwilioSignature(twilioSms.secret, url, {}),
    }
    const { hook, events } = counted(twilioSms, { url })
    const request = new Request('https://hooks.example.com/in?Digits=9', { headers })
    expect((await hook.fetch(request)).status).toBe(200)
    expect(events[0]?.payload).toEqual({ Digits: '1' })
  })

  test('newer keys sign with SHA-256', async () => {
    const { default: sdk } = await import('twilio')
    const sent = await twilioSms.send({ id: 't' })
    const fields = Object.fromEntries(new URLSearchParams(sent.body))
    const headers = {
      ...sent.headers,
      'x-twilio-webhooks-signature-settings': 'key=k1,algorithm=HMAC_SHA256',
      'x-twilio-signature': sdk.getExpectedTwilioSignature(twilioSms.secret, sent.url, fields, 'HMAC_SHA256'),
    }
    const { hook } = counted(twilioSms)
    expect(await deliver(hook, { ...sent, headers })).toMatchObject({ status: 200 })
  })
})

describe('PayPal', () => {
  const certUrl = 'https://api.paypal.com/v1/notifications/certs/CERT-1'

  async function sendFrom(
    url: string,
    pem: string,
    now = nowMs,
  ): Promise<{ status: number; fetched: string[] }> {
    const fetched: string[] = []
    const { hook } = counted(paypal, {
      now: () => now,
      fetchCertificate: async (asked: string) => {
        fetched.push(asked)
        return pem
      },
    })
    const sent = await paypal.send({ id: 'WH-1' })
    const { status } = await deliver(hook, { ...sent, headers: { ...sent.headers, 'paypal-cert-url': url } })
    return { status, fetched }
  }

  test('a certificate is fetched once', async () => {
    let fetches = 0
    const { hook } = counted(paypal, {
      fetchCertificate: async () => {
        fetches += 1
        return paypalCertificate.certificate
      },
    })
    await Promise.all(['a', 'b', 'c'].map(async (id) => deliver(hook, await paypal.send({ id }))))
    expect(fetches).toBe(1)
  })

  test.each([
    'http://api.paypal.com/v1/notifications/certs/CERT-1',
    'https://api.paypal.com.evil.example/v1/notifications/certs/CERT-1',
    'https://evilpaypal.com/v1/notifications/certs/CERT-1',
    'https://paypal.com@evil.example/v1/notifications/certs/CERT-1',
    'https://u:p@api.paypal.com/v1/notifications/certs/CERT-1',
    'https://api.paypal.com:8443/v1/notifications/certs/CERT-1',
    'https://api.paypal.com/v1/notifications/certs/../../../uploads/CERT-1',
    'https://www.paypal.com/uploads/cert.pem',
    'file:///etc/passwd',
    'no url',
  ])('nothing is fetched from %s', async (url) => {
    expect(await sendFrom(url, paypalCertificate.certificate)).toEqual({ status: 401, fetched: [] })
  })

  test('a certificate of another name, out of its time, or that is none', async () => {
    expect(await sendFrom(certUrl, paypalCertificate.certificate)).toMatchObject({ status: 200 })
    expect(await sendFrom(certUrl, otherCertificate.certificate)).toMatchObject({ status: 401 })
    expect(await sendFrom(certUrl, paypalCertificate.certificate, 0)).toMatchObject({ status: 401 })
    // The provider is to send the event again: the fault may be ours.
    expect(await sendFrom(certUrl, 'no certificate')).toMatchObject({ status: 503 })
  })

  test('after a failed fetch the next delivery fetches again', async () => {
    let fetches = 0
    const { hook } = counted(paypal, {
      fetchCertificate: async () => {
        fetches += 1
        if (fetches === 1) throw new Error('no route')
        return paypalCertificate.certificate
      },
    })
    const sent = await paypal.send({ id: 'WH-1' })
    expect(await deliver(hook, sent)).toMatchObject({ status: 503 })
    expect(await deliver(hook, sent)).toMatchObject({ status: 200 })
  })
})

describe('options', () => {
  const handler = (): void => {}
  const make = (name: string, options: object) => () =>
    webhook(instance(), name as 'stripe', options as never, handler)

  test.each<[string, string, object, RegExp]>([
    [
      'a provider that nobody knows',
      'strype',
      { name: 'x', secret: 's' },
      /provider must be one of stripe, /,
    ],
    ['no name', 'stripe', { secret: 's' }, /name must be a string/],
    ['no secret', 'stripe', { name: 'x' }, /secret must be a non-empty string/],
    ['an empty secret', 'github', { name: 'x', secret: ' ' }, /secret must be a non-empty string/],
    ['no secrets', 'github', { name: 'x', secret: [] }, /secret must be a non-empty string/],
    ['a secret that is not base64', 'svix', { name: 'x', secret: 'whsec_*' }, /secret must be base64/],
    ['a short public key', 'svix', { name: 'x', secret: 'whpk_AAAA' }, /32 octets/],
    [
      'an option of another provider',
      'stripe',
      { name: 'x', secret: 's', url: 'https://x' },
      /url is not known/,
    ],
    ['a typing error', 'stripe', { name: 'x', secret: 's', tolerence: 1 }, /Did you mean tolerance/],
    [
      'a URL with a fragment',
      'twilio',
      { name: 'x', secret: 's', url: 'https://x/#rc=3' },
      /without a fragment/,
    ],
    ['a secret for PayPal', 'paypal', { name: 'x', secret: 's' }, /secret is not known/],
    ['a limit of nothing', 'stripe', { name: 'x', secret: 's', requestBytesMax: 0 }, /requestBytesMax/],
    [
      'a tolerance of nothing',
      'stripe',
      { name: 'x', secret: 's', tolerance: 0 },
      /tolerance must be a duration/,
    ],
    [
      'an error that would be an acknowledgement',
      'stripe',
      { name: 'x', secret: 's', onUnknown: 'reconcile' },
      /reconcile is required/,
    ],
  ])('%s', (_, name, options, message) => {
    expect(make(name, options)).toThrow(InvalidOptionError)
    expect(make(name, options)).toThrow(message)
  })

  test('no message holds a secret', () => {
    const secret = 'whsec_*hunter2*'
    expect(make('svix', { name: 'x', secret })).toThrow(expect.not.stringContaining('hunter2') as never)
  })

  test("a key of your own, in place of the provider's", async () => {
    const { hook, events } = counted(provider('shopify'), {
      id: (_event: unknown, delivery: { header: (name: string) => string | undefined }) =>
        delivery.header('x-shopify-event-id'),
    })
    for (const id of ['delivery-1', 'delivery-2']) await deliver(hook, await provider('shopify').send({ id }))
    expect(events).toHaveLength(1)
    expect(events[0]?.id).toBe('one-action-of-a-merchant')
  })
})
