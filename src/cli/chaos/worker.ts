/**
 * A process that runs operations without end, beside others that ask for the same keys, until it is killed or told
 * to end. It says each thing before it does it; what it did not say before it was killed, nobody knows.
 */
import { createInterface } from 'node:readline'
import { writeSync } from 'node:fs'
import { onEvent } from '../../engine/events.ts'
import type { CrashPoint } from '../../verification/crash-points.ts'
import type { HistoryEvent, Unstamped } from '../../verification/history.ts'
import { seededRandom } from '../../verification/random.ts'
import {
  type ChaosMode,
  type Command,
  machineTime,
  principals,
  type Said,
  type WorkerOptions,
  workerOptionsVariable,
} from './protocol.ts'
import { type Ask, codeOf, openShop } from './shop.ts'

/** How far behind the newest key a lane may ask, so that keys are asked for again by all processes. */
const window = 12
const otherRequestPart = 0.03
/** A lane rests between two calls, so that a run has not more keys than can be asked for at its end. */
const restMsMax = 30
/** Some handlers take their time, so that something is under way whatever happens. */
const slowPart = 0.15
const slowMsMax = 300

const options = JSON.parse(process.env[workerOptionsVariable] ?? '') as WorkerOptions
const random = seededRandom(options.seed)
let calls = options.callsFrom
let ended = false
let armed: CrashPoint | undefined
/** Of the call that it was told to make last. */
let takesMs = 0
/** Until it is told to go on the next time. */
let goes = Promise.withResolvers<void>()

/** Written at once: what comes after it may be the end of this process. */
function say(said: Said): void {
  writeSync(1, `${JSON.stringify(said)}\n`)
}

function tell(mode: ChaosMode, event: Unstamped): void {
  say({ say: 'event', mode, event: { at: machineTime(), ...event } as HistoryEvent })
}

async function takeTime(): Promise<void> {
  if (takesMs > 0) await Promise.race([pause(takesMs), goes.promise])
  else if (options.lanes > 0 && random() < slowPart) await pause(random() * slowMsMax)
}

async function reach(point: CrashPoint): Promise<void> {
  if (point === 'in handler') await takeTime()
  if (point !== armed) return
  armed = undefined
  say({ say: 'at', point })
  await goes.promise
}

function goOn(): void {
  goes.resolve()
  goes = Promise.withResolvers()
}

const shop = openShop(options.dialect, options.address, options.elsewhere, {
  reach,
  starts({ mode, call, principal, key, request }, token, fence) {
    tell(mode, { type: 'start', call, process: options.name, principal, key, request, token, fence })
  },
  stops: ({ mode, call }, token) => tell(mode, { type: 'stop', call, token }),
  reconciles: ({ mode, call, principal, key }, adopted) =>
    tell(mode, { type: 'reconcile', principal, key, call, adopted }),
})
onEvent('unknown-commit', ({ applied, operation }) =>
  tell(operation as ChaosMode, { type: 'unknown-commit', applied }),
)

async function ask(given: Omit<Ask, 'call'>): Promise<void> {
  const asked: Ask = { ...given, call: ++calls }
  const { call, mode, principal, key, request } = asked
  tell(mode, { type: 'invoke', call, process: options.name, principal, key, request })
  try {
    const { value, replayed } = options.unprotected
      ? { value: await shop.unprotected(asked), replayed: false }
      : await shop.ask(asked)
    tell(mode, { type: 'ok', call, value, replayed })
  } catch (error) {
    const code = codeOf(error)
    if (error instanceof Error && (error.message.includes(key) || error.message.includes(principal))) {
      tell(mode, { type: 'leak', where: `the message of ${error.name}` })
    }
    tell(mode, { type: isFail(mode, code) ? 'fail' : 'info', call, code })
  }
}

/** What nothing came of, for certain. In lease mode a handler may have had its effect before its lease was lost. */
function isFail(mode: ChaosMode, code: string): boolean {
  if (code === 'store-unavailable' || code === 'key-reused') return true
  if (mode === 'hold' || mode === 'rerun' || mode === 'reconcile') return false
  return code === 'not-applied' || code === 'in-progress' || code === 'retry-transaction'
}

async function lane(number: number): Promise<void> {
  const { modes } = options
  for (let turn = 0; !ended; turn++) {
    const mode = modes[(turn + number) % modes.length] as ChaosMode
    const principal = principals[number % principals.length] as string
    const key = `key-${Math.max(0, turn - Math.floor(random() * window))}`
    await ask({ mode, principal, key, request: random() < otherRequestPart ? 'other' : 'same' })
    await pause(random() * restMsMax)
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

createInterface({ input: process.stdin })
  .on('line', (text) => {
    const command = JSON.parse(text) as Command
    switch (command.do) {
      case 'arm':
        armed = command.point
        break
      case 'go':
        goOn()
        break
      case 'ask':
        takesMs = command.takesMs ?? 0
        void ask(command)
        break
      case 'end':
        ended = true
        armed = undefined
        goOn()
        if (options.lanes === 0) void shop.close().then(() => process.exit(0))
        break
      default:
        command satisfies never
    }
  })
  // Nobody is there any more who would tell it to end.
  .on('close', () => process.exit(0))

say({ say: 'ready' })
if (options.lanes > 0) {
  await Promise.all(Array.from({ length: options.lanes }, (_, number) => lane(number)))
  await shop.close()
  process.exit(0)
}
