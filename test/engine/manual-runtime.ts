/** A runtime whose time moves only when a test says so; digests and tokens are real. */
import type { Runtime } from '../../src/core/runtime.ts'
import { type FakeClock, fakeClock } from '../../src/verification/index.ts'

export type ManualRuntime = Runtime & Pick<FakeClock, 'advance' | 'settle' | 'pendingTimers'>

export function manualRuntime(): ManualRuntime {
  const { runtime, advance, settle, pendingTimers } = fakeClock(1_700_000_000_000)
  return { ...runtime, advance, settle, pendingTimers }
}
