/**
 * A process that runs operations without end, beside others that ask for the same keys, until it is killed or its
 * input ends. It prints each answer it got as a line of JSON; what it did not print before it was killed, nobody
 * knows.
 */
import { randomUUID } from 'node:crypto'
import { onEvent } from '../../src/index.ts'
import { type Mode, modes, openShop, seededRandom, type Shop } from './shop.ts'

export interface WorkerOptions {
  readonly dialect: 'postgres' | 'mysql'
  readonly url: string
  readonly seed: number
  /** Runs the handlers without Retrysafe, so that the check has something to find. */
  readonly unprotected: boolean
}

export type Line =
  | {
      readonly mode: Mode
      readonly key: string
      readonly kind: 'executed' | 'replayed'
      readonly value: string
    }
  /** `code`: of an error of Retrysafe, or `handler` for what the handler itself threw. */
  | { readonly mode: Mode; readonly key: string; readonly kind: 'error'; readonly code: string }
  | { readonly kind: 'unknown-commit'; readonly applied: boolean | 'undecided' }

/** Calls at once. */
const lanes = 8
/** How far behind the newest key a lane may ask, so that keys are asked for again by all processes. */
const window = 12

const options = JSON.parse(process.argv[2] ?? '') as WorkerOptions
const random = seededRandom(options.seed)
const print = (line: Line): void => void process.stdout.write(`${JSON.stringify(line)}\n`)

onEvent('unknown-commit', ({ applied }) => print({ kind: 'unknown-commit', applied }))

let ended = false
process.stdin.on('end', () => (ended = true)).resume()

const shop: Shop = await openShop(options.dialect, options.url)

async function lane(number: number): Promise<void> {
  for (let turn = 0; !ended; turn++) {
    const mode = modes[(turn + number) % modes.length] as Mode
    const key = `${mode} ${Math.max(0, turn - Math.floor(random() * window))}`
    try {
      if (options.unprotected) {
        const value = randomUUID()
        await shop.insert(key, value)
        print({ mode, key, kind: 'executed', value })
        continue
      }
      const { value, replayed } = await shop.ask(mode, key)
      print({ mode, key, kind: replayed ? 'replayed' : 'executed', value })
    } catch (error) {
      print({ mode, key, kind: 'error', code: shop.codeOf(error) })
    }
  }
}

await Promise.all(Array.from({ length: lanes }, (_, number) => lane(number)))
await shop.close()
