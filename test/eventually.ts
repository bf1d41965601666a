import { vi } from 'vitest'

/**
 * Waits until a check passes, and returns what it returns. The limit is for tests that fail: on a busy machine a
 * check may take seconds to pass.
 */
export function eventually<Value>(check: () => Value | Promise<Value>): Promise<Value> {
  return vi.waitFor(check, { timeout: 15_000, interval: 20 })
}
