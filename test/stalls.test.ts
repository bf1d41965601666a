import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { whileTimeIsKept } from './stalls.ts'

/** As when the machine stands still. */
function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

test('what failed while the machine stood still is tried again', async () => {
  let tries = 0
  await whileTimeIsKept(async () => {
    tries += 1
    await delay(30)
    if (tries > 1) return
    standStill(400)
    await delay(30)
    throw new Error('late')
  })
  expect(tries).toBe(2)
})

test('what goes on failing has failed', async () => {
  const failing = whileTimeIsKept(async () => {
    standStill(300)
    await delay(30)
    throw new Error('wrong')
  })
  await expect(failing).rejects.toThrow('wrong')
})

test('what fails while time is kept has failed', async () => {
  const failing = whileTimeIsKept(() => Promise.reject(new Error('wrong')))
  await expect(failing).rejects.toThrow('wrong')
})
