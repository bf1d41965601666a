/** What becomes of keys in a storage: as many as fit, and none that somebody waits for before the others. */
import { describe, expect, test } from 'vitest'
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

const sent = (key: FormKey): FormKey => ({ ...key, sentAt: Date.now() })

describe('keys in a storage', () => {
  test('are bounded: those that were never sent go first, and nothing of others is touched', () => {
    const storage = storageLike()
    storage.setItem('theirs', 'kept')
    // What a keeper of calls keeps in the same storage.
    storage.setItem('retrysafe:default:a', 'kept')
    const keys = formKeys(storage)
    const first = keys.current('first')
    keys.put('first', sent(first))
    for (let at = 0; at < 250; at += 1) keys.put(`typed-${at}`)
    expect(Object.keys(storage)).toHaveLength(102)
    expect(storage).toMatchObject({ theirs: 'kept', 'retrysafe:default:a': 'kept' })
    expect(keys.current('first').key).toBe(first.key)
  })

  test('that are over are cleared away by the next one', () => {
    const storage = storageLike()
    const keys = formKeys(storage)
    keys.put('over')
    keys.forget('over')
    keys.put('next')
    expect(Object.keys(storage)).toEqual(['retrysafe-key:next'])
  })

  test('that are damaged are as good as none', () => {
    const storage = storageLike()
    const keys = formKeys(storage)
    for (const text of ['', '{', 'null', '7', '{"key":1', '{}']) {
      storage.setItem('retrysafe-key:a', text)
      expect(keys.current('a').key).toMatch(/^[\da-f-]{36}$/)
    }
  })

  test('a late end of one key is none of the key that came after', () => {
    const keys = formKeys(storageLike())
    const first = keys.current('a')
    keys.put('a', sent(first))
    keys.forget('a')
    const second = keys.current('a')
    keys.forget('a', first.key)
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

  test('a storage that is full leaves the keys in memory', () => {
    const storage = storageLike()
    storage.setItem = () => {
      throw new DOMException('full', 'QuotaExceededError')
    }
    const keys = formKeys(storage)
    const { key } = keys.current('a')
    keys.put('a', sent(keys.current('a')))
    expect(keys.current('a')).toMatchObject({ key, sentAt: expect.any(Number) as number })
    keys.forget('a')
    expect(keys.current('a').key).not.toBe(key)
  })

  test('outside of browsers nothing is shared by visitors: session keys stay in memory', () => {
    const shared = storageLike()
    Object.defineProperty(globalThis, 'sessionStorage', { value: shared, configurable: true })
    formKeys('session').put('a')
    Reflect.deleteProperty(globalThis, 'sessionStorage')
    expect(Object.keys(shared)).toEqual([])
  })
})
