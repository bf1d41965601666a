/**
 * A process that pays, for tests that kill it: `keeper-process.ts <kind> <path> <url> <point> [intent]`. It says
 * each point that it reaches on a line of its own, and stands still at `point`.
 */
import { createInterface } from 'node:readline'
import { createIdempotentFetch } from '../../src/client/index.ts'
import { fileKeeper } from '../../src/client/keepers/file.ts'
import { type KeptCall, keptFetch, type KeyKeeper, resumeKept } from '../../src/client/keepers/index.ts'
import { sqliteKeeper } from '../../src/client/keepers/sqlite.ts'

const [, , kind, path, url, point] = process.argv as [string, string, string, string, string, string]

const kept: KeyKeeper = kind === 'file' ? fileKeeper({ folder: path }) : sqliteKeeper({ file: path })

/** Says where the process is, and does not go on where it is to be killed. */
async function reach(name: string): Promise<void> {
  process.stdout.write(`${name}\n`)
  if (name === point) await new Promise((resolve) => setTimeout(resolve, 600_000))
}

const keeper: KeyKeeper = {
  ...kept,
  async keep(call) {
    await reach('key-made')
    const answer = await kept.keep(call)
    await reach('key-saved')
    return answer
  },
  async settle(call) {
    await reach('answered')
    await kept.settle(call)
    await reach('result-saved')
  },
}

const fetch = createIdempotentFetch()

if (point === 'race') {
  // All begin together: the parent writes when each is ready.
  const starts = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
  let calls: KeptCall[] = []
  for (const body of ['first', 'edited', 'done']) {
    process.stdout.write(`ready for ${body}\n`)
    await starts.next()
    if (body === 'done') for (const call of calls) await kept.settle(call)
    else {
      calls = []
      for (let intent = 0; intent < 50; intent++) {
        const fresh = {
          key: crypto.randomUUID(),
          method: 'POST',
          url,
          contentType: null,
          createdAt: Date.now(),
        }
        const { call } = await kept.keep({ ...fresh, body, intent: `${intent}` })
        calls.push(call)
      }
      process.stdout.write(`keys ${calls.map(({ key }) => key).join(' ')}\n`)
    }
  }
  process.stdout.write(`left ${(await kept.list()).length}\n`)
  process.exit()
} else if (point === 'resume') {
  const resumed = await resumeKept({ fetch, keeper, headers: () => ({ authorization: 'Bearer new' }) })
  process.stdout.write(`${JSON.stringify(resumed.map(({ end }) => end))}\n`)
} else {
  const body = Uint8Array.from({ length: 256 }, (_, at) => at)
  const response = await keptFetch({ fetch, keeper })(url, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/octet-stream', authorization: 'Bearer old' },
    idempotency: { intent: ['pay', 7, 100] },
  })
  process.stdout.write(`${response.status}\n`)
}
