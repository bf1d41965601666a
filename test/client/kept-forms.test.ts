/** Forms: engines draw another boundary for each, and still the same form is the same request. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createIdempotentFetch } from '../../src/client/index.ts'
import { type KeptInit, keptFetch, type KeyKeeper, memoryKeeper } from '../../src/client/keepers/index.ts'
import { type Charges, keysOf, startCharges } from './charges.ts'

type Entry = readonly [name: string, value: string | FileValue]

interface FileValue {
  readonly name: string
  readonly type: string
  readonly octets: Uint8Array<ArrayBuffer>
}

const text = fc.oneof(
  fc.string(),
  fc.string({ unit: 'grapheme' }),
  // What delimits, and what a boundary of this client looks like.
  fc.constantFrom('', '\r\n', 'a\r\n--\r\nb', '--', '\r\n--retrysafe-', '"', '\r\n------formdata-undici-0'),
)
const file: fc.Arbitrary<FileValue> = fc.record({
  name: text,
  type: fc.constantFrom('', 'image/png', 'application/octet-stream'),
  octets: fc.uint8Array({ maxLength: 64 }).map((octets) => Uint8Array.from(octets)),
})
const entries: fc.Arbitrary<Entry[]> = fc.array(fc.tuple(text, fc.oneof(text, file)), { maxLength: 5 })

function formOf(all: readonly Entry[]): FormData {
  const form = new FormData()
  for (const [name, value] of all) {
    if (typeof value === 'string') form.append(name, value)
    // Times differ, as they do where a file is chosen twice.
    else form.append(name, new File([value.octets], value.name, { type: value.type, lastModified: clock++ }))
  }
  return form
}
let clock = 0

const fetch = createIdempotentFetch({ retries: 0, backoff: 1 })

async function press(
  keeper: KeyKeeper,
  { origin }: Charges,
  init: KeptInit,
  input: RequestInfo = `${origin}/charges`,
): Promise<unknown> {
  const pay = keptFetch({ fetch, keeper })
  try {
    const { status } = await pay(input, { method: 'POST', idempotency: { intent: 'pay' }, ...init })
    return status
  } catch (error) {
    return (error as { readonly code?: string }).code ?? error
  }
}

/** What a form says, wherever it was read. */
async function told(form: FormData): Promise<unknown[]> {
  return await Promise.all(
    Array.from(form, async ([name, value]) =>
      typeof value === 'string'
        ? [name, value]
        : [name, value.name, value.type, Buffer.from(await value.arrayBuffer()).toString('hex')],
    ),
  )
}

test('equal forms are one request, with one key and the same octets, and the server reads what was sent', {
  timeout: 60_000,
}, async () => {
  const charges = await startCharges()
  await fc.assert(
    fc.asyncProperty(entries, fc.boolean(), async (all, isRequest) => {
      const keeper = memoryKeeper()
      charges.arrivals.length = 0
      charges.faults.push('lost')
      const body = formOf(all)
      const input = isRequest ? new Request(`${charges.origin}/charges`, { method: 'POST', body }) : undefined
      expect(await press(keeper, charges, input ? {} : { body }, input)).toBe('outcome-unknown')
      expect(await press(keeper, charges, { body: formOf(all) })).toBe(201)
      expect(keysOf(charges)).toHaveLength(1)
      const [first, second] = charges.arrivals
      expect(second).toEqual(first)
      const { octets, contentType = '' } = second ?? { octets: Buffer.alloc(0) }
      const read = new Response(Uint8Array.from(octets), { headers: { 'content-type': contentType } })
      const native = new Response(formOf(all))
      expect(await told(await read.formData())).toEqual(await told(await native.formData()))
    }),
    { numRuns: 60 },
  )
})

test('other forms are other requests', { timeout: 60_000 }, async () => {
  const charges = await startCharges()
  await fc.assert(
    fc.asyncProperty(entries, entries, async (one, other) => {
      const [first, second] = await Promise.all([one, other].map((all) => bare(formOf(all))))
      fc.pre(first !== second)
      const keeper = memoryKeeper()
      charges.arrivals.length = 0
      charges.faults.push('lost')
      expect(await press(keeper, charges, { body: formOf(one) })).toBe('outcome-unknown')
      expect(await press(keeper, charges, { body: formOf(other) })).toBe(201)
      expect(keysOf(charges)).toHaveLength(2)
    }),
    { numRuns: 40 },
  )
})

/** What the platform writes, without its boundary. */
async function bare(form: FormData): Promise<string> {
  const whole = new Response(form)
  const [, boundary = ''] = (whole.headers.get('content-type') ?? '').split('boundary=')
  return JSON.stringify((await whole.text()).split(`--${boundary}`))
}

test('a double click on a form is one request', async () => {
  const charges = await startCharges()
  const keeper = memoryKeeper()
  const form = (): FormData => formOf([['amount', '100']])
  const presses = [1, 2].map(() => press(keeper, charges, { body: form() }))
  expect(await Promise.all(presses)).toEqual([201, 201])
  expect(charges.arrivals).toHaveLength(1)
})

test('octets that the caller made stay as they are', async () => {
  const charges = await startCharges()
  const made = '--mine\r\ncontent-disposition: form-data; name="a"\r\n\r\n1\r\n--mine--\r\n'
  const contentType = 'multipart/form-data; boundary=mine'
  for (const body of [made, new TextEncoder().encode(made)]) {
    const headers = { 'content-type': contentType }
    expect(await press(memoryKeeper(), charges, { body, headers })).toBe(201)
  }
  expect(charges.arrivals.map((arrival) => [arrival.contentType, arrival.octets.toString()])).toEqual([
    [contentType, made],
    [contentType, made],
  ])
})
