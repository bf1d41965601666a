/** What becomes of keys in a storage: as many as fit, and none that somebody waits for before the others. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { type FormKey, formKeys, type KeyStorage } from '../../src/client/form-keys.ts'

/** Lists its items as a browser's storage does. */
function storageLike(): KeyStorage & Record<string, unknown> {
  const methods = {
    getItem(this: Record<string, string>, name: string): string | null {
      return this[name] ?? null
    },
    setItem(this: Record<string, string>, name: string, value: string): void {
      this[name] = value
    },
    removeItem(this: Record<string, string>, name: string): void {
      delete this[name]
    },
  }
  return Object.create(methods) as KeyStorage & Record<string, unknown>
}

/** As `intentName` names them. */
const named = (what: string | number): string => `retrysafe-key:${what}`

const sent = (key: FormKey): FormKey => ({ ...key, sentAt: Date.now() })

describe('keys in a storage', () => {
  test('are bounded: those that were never sent go first, and nothing of others is touched', () => {
    const storage = storageLike()
    storage.setItem('theirs', 'kept')
    // What a keeper of calls keeps in the same storage.
    storage.setItem('retrysafe:default:a', 'kept')
    const keys = formKeys(storage)
    const first = keys.current(named('first'))
    keys.put(named('first'), sent(first))
    for (let at = 0; at < 250; at += 1) keys.put(named(`typed-${at}`))
    expect(Object.keys(storage)).toHaveLength(102)
    expect(storage).toMatchObject({ theirs: 'kept', 'retrysafe:default:a': 'kept' })
    expect(keys.current(named('first')).key).toBe(first.key)
  })

  test('go in this order: done, never sent, end unknown', () => {
    const storage = storageLike()
    const keys = formKeys(storage)
    const all = ['unknown', 'typed', 'done'].map(named)
    const [unknown, typed, done] = all.map((name) => keys.current(name).key)
    keys.put(named('unknown'), sent(keys.current(named('unknown'))))
    keys.put(named('typed'))
    const fill = (from: number, until: number): void => {
      for (let at = from; at < until; at += 1) keys.put(named(at), sent(keys.current(named(at))))
    }
    fill(0, 97)
    keys.put(named('done'), sent(keys.current(named('done'))))
    keys.done(named('done'), 60_000)
    expect(all.map((name) => storage.getItem(name) !== null)).toEqual([true, true, true])
    fill(97, 98)
    expect(all.map((name) => storage.getItem(name) !== null)).toEqual([true, true, false])
    fill(98, 99)
    expect(all.map((name) => storage.getItem(name) !== null)).toEqual([true, false, false])
    expect(keys.current(named('unknown')).key).toBe(unknown)
    expect(keys.current(named('typed')).key).not.toBe(typed)
    expect(keys.current(named('done')).key).not.toBe(done)
  })

  test('a key of unknown end outlives any number of done ones', () => {
    const keys = formKeys(storageLike())
    const { key } = keys.current(named('unknown'))
    keys.put(named('unknown'), sent(keys.current(named('unknown'))))
    for (let at = 0; at < 150; at += 1) {
      keys.put(named(at), sent(keys.current(named(at))))
      keys.done(named(at), 60_000)
    }
    expect(keys.current(named('unknown')).key).toBe(key)
  })

  test('writing a key that is there already makes none go', () => {
    const storage = storageLike()
    const keys = formKeys(storage)
    for (let at = 0; at < 100; at += 1) keys.put(named(at), sent(keys.current(named(at))))
    const before = Object.keys(storage)
    keys.done(named(99), 60_000)
    keys.put(named(98))
    expect(Object.keys(storage)).toEqual(before)
  })

  test('those on the page stay, however many, and the others go', () => {
    const storage = storageLike()
    const keys = formKeys(storage)
    const rows = Array.from({ length: 150 }, (_, at) => named(`row-${at}`))
    const made = rows.map((name) => keys.current(name).key)
    for (const name of rows) {
      onTestFinished(keys.subscribe(name, () => {}))
      keys.put(name)
    }
    for (let at = 0; at < 150; at += 1) keys.put(named(`typed-${at}`))
    expect(rows.map((name) => keys.current(name).key)).toEqual(made)
    expect(Object.keys(storage)).toHaveLength(250)
  })

  test.each<[string, 'memory' | KeyStorage]>([
    ['memory', 'memory'],
    ['a storage that is forbidden', {} as KeyStorage],
  ])('in %s none goes: a key of unknown end is there after any number of others', (_where, storage) => {
    const keys = formKeys(storage)
    const { key } = keys.current(named('unknown'))
    keys.put(named('unknown'), sent(keys.current(named('unknown'))))
    for (let at = 0; at < 250; at += 1) keys.current(named(`typed-${at}`))
    expect(keys.current(named('unknown'))).toMatchObject({ key, sentAt: expect.any(Number) as number })
  })

  test('that are over are cleared away by the next one', () => {
    const storage = storageLike()
    const keys = formKeys(storage)
    keys.put(named('over'))
    keys.done(named('over'), 0)
    keys.put(named('next'))
    expect(Object.keys(storage)).toEqual([named('next')])
  })

  test('that are damaged are as good as none', () => {
    const storage = storageLike()
    const keys = formKeys(storage)
    for (const text of ['', '{', 'null', 'false', '7', '{"key":1', '{}']) {
      storage.setItem(named('a'), text)
      expect(keys.current(named('a')).key).toMatch(/^[\da-f-]{36}$/)
    }
  })

  test('a late end of one key is none of the key that came after', () => {
    const keys = formKeys(storageLike())
    const first = keys.current('a')
    keys.put('a', sent(first))
    keys.done('a', 0)
    const second = keys.current('a')
    keys.done('a', 0, first.key)
    keys.done('a', 1_000, first.key)
    keys.put('a', sent(first))
    expect(keys.current('a')).toEqual(second)
  })

  test('a second done does not make a key live longer', () => {
    const keys = formKeys(storageLike())
    keys.done('a', 60_000)
    const { until } = keys.current('a')
    keys.done('a', 120_000)
    expect(keys.current('a').until).toBe(until)
  })

  test('a key of the server is used once: what comes after it is another order', () => {
    vi.useFakeTimers()
    onTestFinished(() => void vi.useRealTimers())
    const storage = storageLike()
    const keys = formKeys(storage)
    const given = (name: string): string => keys.current(name, 'server-1').key
    expect([given('a'), given('a')]).toEqual(['server-1', 'server-1'])
    keys.put('a')
    // Other parts are another intent.
    expect(given('b')).toMatch(/^[\da-f-]{36}$/)
    keys.done('a', 0)
    const second = given('a')
    expect(second).toMatch(/^[\da-f-]{36}$/)
    keys.done('a', 1_000)
    expect(given('a')).toBe(second)
    vi.advanceTimersByTime(1_000)
    expect(['server-1', second]).not.toContain(given('a'))
  })

  test('a key of the server that the storage has from the page before is used once, too', () => {
    const storage = storageLike()
    storage.setItem('a', JSON.stringify({ key: 'server-1', createdAt: Date.now() }))
    const keys = formKeys(storage)
    expect(keys.current('a', 'server-1').key).toBe('server-1')
    keys.done('a', 0)
    expect(keys.current('a', 'server-1').key).not.toBe('server-1')
  })

  test('a storage that is full leaves the keys in memory', () => {
    const storage = storageLike()
    storage.setItem = () => {
      throw new DOMException('full', 'QuotaExceededError')
    }
    const keys = formKeys(storage)
    const { key } = keys.current('a')
    keys.put('a', sent(keys.current('a')))
    expect(keys.current('a')).toMatchObject({ key, sentAt: expect.any(Number) as number })
    keys.done('a', 0)
    expect(keys.current('a').key).not.toBe(key)
  })

  test('a storage that is full later does not bring back a key that has ended', () => {
    vi.useFakeTimers()
    onTestFinished(() => void vi.useRealTimers())
    const storage = storageLike()
    const keys = formKeys(storage)
    const before = ['forgotten', 'done'].map((name) => keys.current(name).key)
    for (const name of ['forgotten', 'done']) keys.put(name)
    storage.setItem = () => {
      throw new DOMException('full', 'QuotaExceededError')
    }
    keys.done('forgotten', 0)
    keys.done('done', 1_000)
    expect(keys.current('done').key).toBe(before[1])
    vi.advanceTimersByTime(1_000)
    expect(before).not.toContain(keys.current('forgotten').key)
    expect(before).not.toContain(keys.current('done').key)
  })

  test('a key is forgotten in a storage that takes nothing longer than what it has', () => {
    const storage = storageLike()
    const { setItem } = storage
    formKeys(storage).put('a')
    const { key } = formKeys(storage).current('a')
    storage.setItem = function (name, value) {
      if (value.length > (storage.getItem(name)?.length ?? 0))
        throw new DOMException('full', 'QuotaExceededError')
      setItem.call(storage, name, value)
    }
    formKeys(storage).done('a', 0)
    // As the page has it that is loaded next.
    expect(storage.getItem('a')).not.toContain(key)
  })

  test('a time that no timer reaches is waited for in parts', () => {
    vi.useFakeTimers()
    onTestFinished(() => void vi.useRealTimers())
    const keys = formKeys(storageLike())
    keys.put('a', { ...keys.current('a'), until: Date.now() + 30 * 86_400_000 })
    const { key } = keys.current('a')
    let told = 0
    onTestFinished(keys.subscribe('a', () => (told += 1)))
    vi.advanceTimersByTime(86_400_000)
    expect(told).toBeLessThan(2)
    vi.advanceTimersByTime(29 * 86_400_000)
    expect(keys.current('a').key).not.toBe(key)
    expect(told).toBeGreaterThan(1)
  })

  test('a storage that nobody has any more is let go', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const storages = Array.from({ length: 50 }, () => {
      const storage = storageLike()
      formKeys(storage).put('a')
      return new WeakRef(storage)
    })
    await expect
      .poll(() => {
        collect()
        return storages.filter((storage) => storage.deref() !== undefined).length
      })
      .toBeLessThan(5)
  })

  test('outside of browsers nothing is shared by visitors: session keys stay in memory', () => {
    const shared = storageLike()
    Object.defineProperty(globalThis, 'sessionStorage', { value: shared, configurable: true })
    formKeys('session').put('a')
    Reflect.deleteProperty(globalThis, 'sessionStorage')
    expect(Object.keys(shared)).toEqual([])
  })
})
