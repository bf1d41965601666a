import { describe, expect, test } from 'vitest'
import { InvalidOptionError } from '../../src/core/errors.ts'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { refuseUnknownOptions } from '../../src/core/options.ts'
import { defaultPolicy, resolvePolicy } from '../../src/engine/policy.ts'
import { memoryStore } from '../../src/stores/memory.ts'

describe('policy options', () => {
  test('defaults, and durations as text or milliseconds', () => {
    expect(resolvePolicy({})).toEqual(defaultPolicy)
    const policy = resolvePolicy({
      retention: '7d',
      lease: 500,
      wait: '250ms',
      tombstone: '30d',
      timeout: '2m',
    })
    expect(policy).toMatchObject({
      retentionMs: 604_800_000,
      releaseMarkerMs: 604_800_000,
      leaseMs: 500,
      waitMs: 250,
      tombstoneMs: 2_592_000_000,
      timeoutMs: 120_000,
    })
  })

  test.each<[string, object]>([
    ['lease', { lease: 0 }],
    ['lease', { lease: -1 }],
    ['lease', { lease: Number.NaN }],
    ['lease', { lease: Infinity }],
    ['lease', { lease: '10 s' }],
    ['lease', { lease: 1e12 }],
    ['lease', { lease: '24h', retention: '1h' }],
    ['retention', { retention: 0 }],
    ['retention', { retention: '' }],
    ['wait', { wait: '1d' }],
    ['timeout', { timeout: 0 }],
    ['onUnknown', { onUnknown: 'retry' }],
  ])('a wrong %s is refused by name: %j', (option, options) => {
    const create = (): unknown =>
      createIdempotency({ store: memoryStore(), sweep: false, ...options } as never)
    expect(create).toThrow(InvalidOptionError)
    expect(create).toThrow(new RegExp(`^Option ${option} `))
  })
})

describe('unknown options', () => {
  const known = ['retention', 'onUnknown', 'wait']
  test.each([
    ['retenton', 'retention'],
    ['retnetion', 'retention'],
    ['onunknown', 'onUnknown'],
    ['waits', 'wait'],
  ])('%s suggests %s', (given, meant) => {
    expect(() => refuseUnknownOptions('options', { [given]: 1 }, known)).toThrow(`Did you mean ${meant}?`)
  })

  test('far from all, the known names are listed', () => {
    expect(() => refuseUnknownOptions('options', { colour: 1 }, known)).toThrow(
      'Known: retention, onUnknown, wait',
    )
  })
})

describe('createIdempotency', () => {
  test.each<[string, object]>([
    ['store', { store: undefined }],
    ['store', { store: {} }],
    ['namespace', { namespace: '' }],
    ['namespace', { namespace: 'n'.repeat(256) }],
    ['secret', { secret: 'short' }],
    ['sweep', { sweep: 1 }],
  ])('a wrong %s is refused by name', (option, options) => {
    const create = (): unknown =>
      createIdempotency({ store: memoryStore(), sweep: false, ...options } as never)
    expect(create).toThrow(new RegExp(`^Option ${option} `))
  })

  test('no message shows the secret', () => {
    const create = (): unknown => createIdempotency({ store: memoryStore(), secret: 'canary', sweep: false })
    expect(create).toThrow(expect.not.stringContaining('canary') as never)
  })

  test('a secret changes record ids: earlier keys are new', async () => {
    const store = memoryStore()
    const call = { key: 'k', principal: 'p', input: 1 }
    let runs = 0
    for (const secret of ['secret number one', 'secret number two', 'secret number two']) {
      await createIdempotency({ store, secret, sweep: false })
        .operation('charge', () => ++runs)
        .run(call)
    }
    expect(runs).toBe(2)
  })

  test.each<[string, unknown[]]>([
    ['operation', ['', () => 1]],
    ['operation', [5, () => 1]],
    ['handler', ['charge', 5]],
    ['operation ', ['charge', { retries: 3 }, () => 1]],
    ['reconcile', ['charge', { onUnknown: 'reconcile' }, () => 1]],
  ])('a wrong %s of an operation is refused at construction', (option, given) => {
    const idem = createIdempotency({ store: memoryStore(), sweep: false })
    const define = (): unknown => (idem.operation as (...args: unknown[]) => unknown)(...given)
    expect(define).toThrow(new RegExp(`^Option ${option}`))
  })
})
