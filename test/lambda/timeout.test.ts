/** A function that is killed at its deadline, in a process of its own, on the emulator of DynamoDB. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { hasDynamodb } from '../servers.ts'
import { eventually } from '../eventually.ts'
import { shopOfTest } from '../stores/dynamodb-shop.ts'
import { apiV2 } from './events.ts'
import type { Invoked } from './function.ts'

type Told = 'ready' | { readonly started: number } | { readonly result: { statusCode: number; body: string } }

async function startFunction(endpoint: string, table: string, onUnknown: string): Promise<ChildProcess> {
  const child = fork(join(import.meta.dirname, 'function.ts'), [endpoint, table, onUnknown])
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  })
  await told(child, 'ready')
  return child
}

async function told(child: ChildProcess, what: string): Promise<Told> {
  for (;;) {
    const [message] = (await once(child, 'message')) as [Told]
    if (message === what || (typeof message === 'object' && what in message)) return message
  }
}

async function invoke(
  child: ChildProcess,
  event: Invoked['event'],
): Promise<{ statusCode: number; body: string }> {
  const answered = told(child, 'result')
  child.send({ event, remainingMs: 20_000 } satisfies Invoked)
  return ((await answered) as { result: { statusCode: number; body: string } }).result
}

describe.skipIf(!hasDynamodb)('a function that is killed at its deadline', () => {
  test.each([
    ['hold', 409, 'outcome-unknown'],
    ['rerun', 201, 'fence 2'],
  ])(
    'leaves a lease that ends soon after, and then onUnknown %s decides',
    { timeout: 60_000 },
    async (onUnknown, status, text) => {
      const { endpoint, table } = await shopOfTest()
      const event = apiV2()
      const hanging = { ...event, headers: { ...event.headers, hang: '1' } }
      const [killed, next] = await Promise.all([
        startFunction(endpoint, table, onUnknown),
        startFunction(endpoint, table, onUnknown),
      ])
      const started = told(killed, 'started')
      killed.send({ event: hanging, remainingMs: 3_000 } satisfies Invoked)
      await started
      const gone = once(killed, 'exit')
      killed.kill('SIGKILL')
      await gone

      const beside = await invoke(next, event)
      expect([beside.statusCode, beside.body]).toEqual([409, expect.stringContaining('in-progress')])
      const after = await eventually(async () => {
        const answer = await invoke(next, event)
        expect(answer.body).not.toContain('in-progress')
        return answer
      })
      expect([after.statusCode, after.body]).toEqual([status, expect.stringContaining(text)])
      const again = await invoke(next, event)
      expect([again.statusCode, again.body]).toEqual([status, after.body])
    },
  )
})
