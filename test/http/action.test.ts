/** Guarded functions where no framework is needed to see what they do; what Next makes of them is in next.test.ts. */
import { readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { describe, expect, test } from 'vitest'
import { moduleImports } from '../../scripts/module-imports.ts'
import { StoreError } from '../../src/core/errors.ts'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { idempotencyKeyField, idempotentAction } from '../../src/http/next.ts'
import { idempotent } from '../../src/http/react-router.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { storeWith } from './raw-client.ts'
import { instance } from './serving.ts'

function formOf(fields: Readonly<Record<string, string>>): FormData {
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) form.append(name, value)
  return form
}

const base = { operation: 'pay', principal: 'anonymous' } as const

describe('options are checked when the action is made', () => {
  test.each<[string, object, string]>([
    ['no operation', { principal: 'anonymous' }, 'operation'],
    ['no principal', { operation: 'pay' }, 'principal'],
    ['a key that names nothing', { ...base, key: '' }, 'key'],
    ['required that is no boolean', { ...base, required: 1 }, 'required'],
    ['previousState that is no boolean', { ...base, previousState: 'yes' }, 'previousState'],
    ['onRefused that is no function', { ...base, onRefused: {} }, 'onRefused'],
    ['onReplay that is no function', { ...base, onReplay: true }, 'onReplay'],
    ['reconcile, which nobody could be asked', { ...base, onUnknown: 'reconcile' }, 'onUnknown'],
    ['a lease that is no duration', { ...base, lease: 'soon' }, 'lease'],
    ['a name that is not known', { ...base, requird: true }, 'action.requird'],
  ])('%s', (_, options, option) => {
    const make = (): unknown => idempotentAction(instance(), options as typeof base, () => 1)
    expect(make).toThrow(expect.objectContaining({ code: 'option-invalid', option }))
  })

  test.each<[string, object, string]>([
    ['a key that names nothing', { principal: 'anonymous', key: '' }, 'key'],
    ['onRefused that is no function', { principal: 'anonymous', onRefused: 1 }, 'onRefused'],
    ['an option of all adapters', { principal: 'anonymous', required: 1 }, 'required'],
  ])('of React Router: %s', (_, options, option) => {
    const make = (): unknown => idempotent(instance(), options as { principal: 'anonymous' }, () => 1)
    expect(make).toThrow(expect.objectContaining({ code: 'option-invalid', option }))
  })
})

describe('the key', () => {
  test('is a field with a new value each time', () => {
    const field = idempotencyKeyField()
    expect(field).toEqual({
      type: 'hidden',
      name: 'idempotency-key',
      value: expect.stringMatching(/^[0-9a-f-]{36}$/),
    })
    expect(idempotencyKeyField().value).not.toBe(field.value)
    expect(idempotencyKeyField('k', 'v')).toEqual({ type: 'hidden', name: 'k', value: 'v' })
  })

  test('is found in the named field, and only that field is left out of the comparison', async () => {
    let runs = 0
    const action = idempotentAction(instance(), { ...base, key: 'k' }, async (_form: FormData) => ++runs)
    expect(await action(formOf({ k: 'a', 'idempotency-key': '1' }))).toBe(1)
    expect(await action(formOf({ k: 'a', 'idempotency-key': '1' }))).toBe(1)
    await expect(action(formOf({ k: 'a', 'idempotency-key': '2' }))).rejects.toMatchObject({
      code: 'key-reused',
    })
  })

  test('is required, or its absence leaves the call unprotected', async () => {
    let runs = 0
    const optional = idempotentAction(instance(), base, async (_form: FormData) => ++runs)
    expect([await optional(formOf({})), await optional(formOf({}))]).toEqual([1, 2])
    const required = idempotentAction(instance(), { ...base, required: true }, optional)
    await expect(required(formOf({}))).rejects.toMatchObject({ code: 'key-missing' })
  })

  test('given twice, or as a file, is malformed', async () => {
    const action = idempotentAction(instance(), base, async (_form: FormData) => 1)
    const twice = formOf({ 'idempotency-key': 'a' })
    twice.append('idempotency-key', 'a')
    const file = new FormData()
    file.append('idempotency-key', new File(['a'], 'a.txt'))
    for (const form of [twice, file]) {
      await expect(action(form)).rejects.toMatchObject({ code: 'key-malformed' })
    }
  })
})

describe('the arguments', () => {
  test('all count, but not the state that came before', async () => {
    let runs = 0
    const action = idempotentAction(
      instance(),
      { ...base, previousState: true },
      async (_order: string, _previous: number, _form: FormData) => ++runs,
    )
    const form = formOf({ 'idempotency-key': 'a' })
    expect(await action('order-1', 0, form)).toBe(1)
    expect(await action('order-1', 1, form)).toBe(1)
    await expect(action('order-2', 1, form)).rejects.toMatchObject({ code: 'key-reused' })
  })

  test('of a form are the same as React sends them from a page, from a page that a server rendered, and without scripts', async () => {
    let runs = 0
    const action = idempotentAction(instance(), base, async (_form: FormData) => ++runs)
    const typed = { 'idempotency-key': 'a', amount: '100' }
    const rendered = { $ACTION_REF_1: '', '$ACTION_1:0': '{"id":"7f","bound":"$@1"}', '$ACTION_1:1': '[1]' }
    expect(await action(formOf({ ...rendered, $ACTION_KEY: 'k1', ...typed }))).toBe(1)
    expect(await action(formOf({ $ACTION_ID_7f: '', ...typed }))).toBe(1)
    expect(await action(formOf(typed))).toBe(1)
    const other = formOf({ ...rendered, ...typed, amount: '200' })
    await expect(action(other)).rejects.toMatchObject({ code: 'key-reused' })
  })

  test('that cannot be compared are refused before anything runs', async () => {
    let runs = 0
    const action = idempotentAction(
      instance(),
      { ...base, key: () => 'a' },
      async (_call: () => void) => ++runs,
    )
    await expect(action(() => {})).rejects.toMatchObject({ code: 'input-unsupported' })
    expect(runs).toBe(0)
  })

  test('are compared by what fingerprint takes of them', async () => {
    let runs = 0
    const options = { ...base, key: () => 'a', fingerprint: (amount: number) => amount }
    const action = idempotentAction(instance(), options, async (_amount: number, _at: number) => ++runs)
    expect([await action(1, 10), await action(1, 20)]).toEqual([1, 1])
    await expect(action(2, 10)).rejects.toMatchObject({ code: 'key-reused' })
  })
})

describe('ends', () => {
  test('one principal never gets the value of another', async () => {
    const options = { ...base, principal: (user: string) => user, key: () => 'a' }
    const action = idempotentAction(instance(), options, async (user: string) => `of ${user}`)
    expect([await action('u1'), await action('u2')]).toEqual(['of u1', 'of u2'])
    await expect(action(undefined as unknown as string)).rejects.toMatchObject({ code: 'principal-invalid' })
  })

  test('onReplay is called for a stored value, and not for the first', async () => {
    const replays: string[] = []
    const options = { ...base, key: () => 'a', onReplay: (word: string) => void replays.push(word) }
    const action = idempotentAction(instance(), options, async (word: string) => word)
    await action('one')
    expect(replays).toEqual([])
    await action('one')
    expect(replays).toEqual(['one'])
  })

  test('what the handler throws goes on as it is, also where it is an error of this package', async () => {
    const own = new StoreError('permanent', 'of the handler')
    const options = { ...base, key: () => 'a', onRefused: () => 'refused' }
    const action = idempotentAction(instance(), options, async () => {
      throw own
    })
    await expect(action()).rejects.toBe(own)
  })

  test('onError keeps an error, which is a refusal for a duplicate', async () => {
    const options = { ...base, key: () => 'a', onError: 'keep' } as const
    let runs = 0
    const action = idempotentAction(instance(), options, async () => {
      runs++
      throw new Error('declined')
    })
    await expect(action()).rejects.toThrow('declined')
    await expect(action()).rejects.toMatchObject({ code: 'replayed-error', message: 'declined' })
    expect(runs).toBe(1)
  })

  test('with the store down the handler does not run', async () => {
    let runs = 0
    const down = storeWith(memoryStore(), {
      claim: () => Promise.reject(new StoreError('transient', 'down')),
    })
    await using idem = createIdempotency({ store: down, sweep: false })
    const options = { ...base, key: () => 'a', onRefused: ({ code }: { code: string }) => code }
    const action = idempotentAction(idem, options, async () => ++runs)
    expect(await action()).toBe('store-unavailable')
    expect(runs).toBe(0)
  })
})

/** Files that a module loads, with what they import from elsewhere. */
function loadedBy(entry: string): { readonly files: readonly string[]; readonly foreign: readonly string[] } {
  const root = join(import.meta.dirname, '../../src')
  const files = new Set([entry])
  const foreign: string[] = []
  for (const file of files) {
    for (const { specifier, typeOnly } of moduleImports(file, readFileSync(join(root, file), 'utf8'))) {
      if (typeOnly) continue
      if (specifier.startsWith('.')) files.add(posix.join(posix.dirname(file), specifier))
      else foreign.push(`${file}: ${specifier}`)
    }
  }
  return { files: [...files], foreign }
}

test.each(['http/next.ts', 'http/react-router.ts', 'http/fetch.ts', 'http/hono.ts'])(
  '%s loads no module of Node, so that bundlers take it for any runtime',
  (entry) => {
    const { files, foreign } = loadedBy(entry)
    expect(files).toContain('http/protocol.ts')
    expect(foreign).toEqual([])
  },
)
