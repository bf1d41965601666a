/** Every row of the table in reference/http.md, section 4, without a key and with one. */
import { describe, expect, test } from 'vitest'
import { type Answer, isReplay, type Signal, signalOf, signalOfError } from '../../src/client/signals.ts'

type Written = `${Signal['effect']} ${Signal['next']}`

function answer(status: number, fields: Readonly<Record<string, string>> = {}, code?: string): Answer<null> {
  return { status, header: (name) => fields[name] ?? null, code, raw: null }
}

function read(...parts: [isRepeatable: boolean, ...Parameters<typeof answer>]): Written {
  const [isRepeatable, ...rest] = parts
  const { effect, next } = signalOf(answer(...rest), isRepeatable)
  return `${effect} ${next}`
}

const retryAfter = { 'retry-after': '1' }

/** What is answered, and what it says with a key; `plain` where it says something else without. */
const rows: readonly (readonly [
  name: string,
  answered: Parameters<typeof answer>,
  keyed: Written,
  plain?: Written,
])[] = [
  ['200', [200], 'told stop'],
  ['201', [201], 'told stop'],
  ['204', [204], 'told stop'],
  ['303', [303], 'told stop'],
  ['304', [304], 'told stop'],
  ['a success with a hint', [200, { 'x-should-retry': 'true' }], 'told stop'],
  ['307 that was not followed', [307], 'none stop'],
  ['308 that was not followed', [308], 'none stop'],
  ['a redirect that cannot be seen', [0], 'unknown stop'],
  ['421', [421], 'none retry'],
  ['408', [408], 'unknown retry'],
  ['500', [500], 'unknown retry'],
  ['502', [502], 'unknown retry'],
  ['503', [503], 'unknown retry'],
  ['503 store-unavailable', [503, retryAfter, 'store-unavailable'], 'none retry'],
  ['503 outcome-unknown', [503, retryAfter, 'outcome-unknown'], 'unknown retry'],
  ['504', [504], 'unknown retry'],
  ['520, as proxies answer', [520], 'unknown retry'],
  ['529, as proxies answer', [529], 'unknown retry'],
  ['409', [409], 'told stop'],
  ['409 with Retry-After', [409, retryAfter], 'unknown retry', 'told stop'],
  ['409 in-progress', [409, {}, 'in-progress'], 'unknown retry', 'told stop'],
  ['409 of another code', [409, {}, 'sold-out'], 'told stop'],
  ['409 outcome-unknown', [409, {}, 'outcome-unknown'], 'unknown stop'],
  ['409 key-reused', [409, {}, 'key-reused'], 'none refuse'],
  ['425', [425], 'none retry'],
  ['429', [429], 'none retry'],
  ['429 with Retry-After', [429, retryAfter], 'none retry'],
  ['503 not-applied', [503, retryAfter, 'not-applied'], 'none retry'],
  ['401', [401], 'none refresh'],
  ['403', [403], 'none stop'],
  ['422', [422], 'told stop'],
  ['422 key-reused', [422, {}, 'key-reused'], 'none refuse'],
  ['422 key-expired', [422, {}, 'key-expired'], 'unknown stop'],
  ['410 key-expired', [410, {}, 'key-expired'], 'unknown stop'],
  ['400 key-missing', [400, {}, 'key-missing'], 'none refuse'],
  ['400 key-malformed', [400, {}, 'key-malformed'], 'none refuse'],
  ['400', [400], 'told stop'],
  ['400 of a key of something else', [400, {}, 'key-not-in-vault'], 'told stop'],
  ['401 of an API key', [401, {}, 'key-expired'], 'none refresh'],
  ['402', [402], 'told stop'],
  ['404', [404], 'told stop'],
  ['412', [412], 'told stop'],
  ['423', [423], 'told stop'],
  ['501', [501], 'told stop'],
  ['505', [505], 'told stop'],
  ['a replayed 500', [500, { 'idempotent-replayed': 'true' }], 'told stop'],
  [
    'a replayed 500 with a hint',
    [500, { 'idempotent-replayed': 'true', 'x-should-retry': 'true' }],
    'told stop',
  ],
  ['a replayed 409', [409, { 'idempotent-replayed': 'true', ...retryAfter }], 'told stop'],
  ['400 that Stripe wants again', [400, { 'stripe-should-retry': 'true' }], 'told retry'],
  ['409 that Stainless wants again', [409, { 'x-should-retry': 'true' }], 'told retry'],
  ['422 that Adyen wants again', [422, { 'transient-error': 'true' }], 'told retry'],
  ['500 that Stripe does not want again', [500, { 'stripe-should-retry': 'false' }], 'unknown stop'],
  ['429 that Stainless does not want again', [429, { 'x-should-retry': 'false' }], 'none stop'],
  ['401 with a hint', [401, { 'x-should-retry': 'true' }], 'none refresh'],
  ['422 key-reused with a hint', [422, { 'x-should-retry': 'true' }, 'key-reused'], 'none refuse'],
  ['a hint of another word', [500, { 'x-should-retry': 'perhaps' }], 'unknown retry'],
]

for (const [name, answered, keyed, plain = keyed] of rows) {
  test(name, () => {
    expect([read(true, ...answered), read(false, ...answered)]).toEqual([keyed, plain])
  })
}

test.each([
  [200, undefined, 'told stop', 'told stop'],
  [404, undefined, 'told stop', 'told stop'],
  [429, undefined, 'unknown retry', 'unknown stop'],
  [401, undefined, 'unknown stop', 'unknown stop'],
  [403, undefined, 'unknown stop', 'unknown stop'],
  [503, 'store-unavailable', 'unknown retry', 'unknown stop'],
  [400, 'key-missing', 'unknown stop', 'unknown stop'],
] as const)(
  'after a redirect that was the answer, %i %s of what it named never says that nothing was done',
  (status, code, keyed, plain) => {
    const elsewhere = { ...answer(status, {}, code), isElsewhere: true }
    const said = [true, false].map((isRepeatable) => signalOf(elsewhere, isRepeatable))
    expect(said.map(({ effect, next }) => `${effect} ${next}`)).toEqual([keyed, plain])
  },
)

describe('an attempt without an answer', () => {
  test('that was never sent changed nothing', () => {
    expect(signalOfError(true)).toEqual({ effect: 'none', next: 'retry' })
  })
  test('that may have been sent is unclear', () => {
    expect(signalOfError(false)).toEqual({ effect: 'unknown', next: 'retry' })
  })
})

test('only the marker makes a replay', () => {
  expect(isReplay(answer(200, { 'idempotent-replayed': 'true' }))).toBe(true)
  expect(isReplay(answer(200, { 'idempotent-replayed': 'false' }))).toBe(false)
  expect(isReplay(answer(200))).toBe(false)
})
