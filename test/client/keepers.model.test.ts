/** Whatever is done to them, keepers on storage behave as the one in memory. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { fileKeeper } from '../../src/client/keepers/file.ts'
import {
  type KeeperOptions,
  type KeptCall,
  type KeyKeeper,
  memoryKeeper,
} from '../../src/client/keepers/index.ts'
import { sqliteKeeper } from '../../src/client/keepers/sqlite.ts'

type Step =
  | { readonly verb: 'keep'; readonly intent: string; readonly body: string }
  /** What happens to one of the calls so far. */
  | { readonly verb: 'settle' | 'forget' | 'withdraw' | 'share'; readonly at: number }
  | { readonly verb: 'wait'; readonly minutes: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      verb: fc.constant('keep' as const),
      intent: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
      body: fc.constantFrom('1', '2'),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      verb: fc.constantFrom('settle' as const, 'forget' as const, 'withdraw' as const, 'share' as const),
      at: fc.nat(20),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      verb: fc.constant('wait' as const),
      minutes: fc.constantFrom(1, 29, 31, 12 * 60 + 1),
    }),
  },
)

/** Does the steps, and tells what each of them gave. */
async function tell(make: (options: KeeperOptions) => KeyKeeper, steps: readonly Step[]): Promise<unknown[]> {
  let time = 1_764_489_600_000
  const story: unknown[] = []
  const calls: KeptCall[] = []
  const keeper = make({
    ...{ callsMax: 3, keepAfterDone: '30m', clock: { now: () => time } },
    onDropped: ({ key }) => void story.push({ dropped: key }),
  })
  for (const [at, taken] of steps.entries()) {
    time += 1
    switch (taken.verb) {
      case 'wait':
        time += taken.minutes * 60_000
        break
      case 'keep': {
        const { intent, body } = taken
        const call = {
          method: 'POST',
          url: 'https://a.example/',
          contentType: null,
          fields: {},
          createdAt: time,
        }
        const fresh = { ...call, intent, body, key: `key-${at}` }
        calls.push(fresh)
        story.push(await keeper.keep(fresh).catch((error: { reason: string }) => error.reason))
        break
      }
      default: {
        const call = calls[taken.at % calls.length]
        if (call === undefined) break
        story.push((await keeper[taken.verb](call)) ?? null, (await keeper.find(call.intent)) ?? null)
      }
    }
    story.push(await keeper.list())
  }
  return story
}

test('file and sqlite tell the same story as memory', { timeout: 120_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'retrysafe-keeper-'))
  let runs = 0
  try {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
        runs += 1
        const expected = await tell(memoryKeeper, steps)
        const files = (options: KeeperOptions): KeyKeeper =>
          fileKeeper({ ...options, folder: join(folder, `${runs}`) })
        expect(await tell(files, steps)).toEqual(expected)
        const closing: { close(): Promise<void> }[] = []
        const sqlite = (options: KeeperOptions): KeyKeeper => {
          const keeper = sqliteKeeper({ ...options, file: join(folder, `${runs}.db`) })
          closing.push(keeper)
          return keeper
        }
        expect(await tell(sqlite, steps)).toEqual(expected)
        for (const keeper of closing) await keeper.close()
      }),
      { numRuns: 60 },
    )
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
