/**
 * The fidelity suite: what a client gets through a layer for idempotency keys equals what it gets without it, and a
 * retry gets the first answer again, octet for octet.
 *
 * The server under test offers, on 127.0.0.1 and for each shape of `fidelityShapes`, with the framework's ordinary
 * means and the content of `fidelityContent`:
 *
 *   POST, HEAD /plain/<shape>   without the layer
 *   POST, HEAD /keyed/<shape>   behind it, keys optional, one principal for all
 *   POST /keyed/gated           answers 200 `{"opened":true}` as JSON once the gate is open
 *   POST /open-gate             opens the gate for good
 *   GET /runs                   JSON: for each shape, and `gated`, how often its guarded handler was entered by POST
 *   POST /zipped/file           with `compression`: the shape `file` behind the layer, compressed outside of it
 */
import { type FidelityCase, fidelityCases, type FidelityServer } from './http-fidelity/cases.ts'
import type { TestFunction } from './store-conformance.ts'

export type { FidelityServer } from './http-fidelity/cases.ts'
export {
  fidelityContent,
  type FidelityShape,
  type FidelityShapeName,
  fidelityShapes,
  type ShapeEnd,
} from './http-fidelity/shapes.ts'

export interface HttpFidelityOptions {
  /** Put before the name of each case, such as `express 5`. */
  readonly name: string
  /** `test` of vitest, node:test or alike. Where it has `skip`, skipped cases are shown with their reason. */
  readonly test: TestFunction
  /** The server; asked by every case. */
  readonly server: () => FidelityServer | Promise<FidelityServer>
  /** What the server offers beside the shapes. Default: nothing. */
  readonly offers?: readonly ('http2' | 'compression')[]
  /** Whether replays carry `Set-Cookie`, in its order. Default `'left-out'`. */
  readonly cookies?: 'kept' | 'left-out'
  /** Cases that do not apply, by their whole name or by that of their shape, each with its reason. */
  readonly skip?: Readonly<Record<string, string>>
}

/** The name of a case by which it can be skipped: its shape's, or its own. */
function skipNameOf({ name }: FidelityCase): string {
  return name.split(': ')[0] as string
}

/** The names of all cases, for `skip`. */
export const fidelityCaseNames: readonly string[] = fidelityCases.map(skipNameOf)

/**
 * Registers every case with the test runner.
 *
 * @throws Error when `skip` names a case that is not there, or gives no reason
 * @example
 * httpFidelity({ name: 'my layer', test, server: () => ({ port: 3000 }) })
 */
export function httpFidelity(options: HttpFidelityOptions): void {
  const { name, test, server, offers = [], cookies = 'left-out', skip = {} } = options
  for (const [skipped, reason] of Object.entries(skip)) {
    if (!fidelityCaseNames.includes(skipped)) throw new Error(`There is no case named '${skipped}' to skip.`)
    if (reason.trim() === '') throw new Error(`Skipping '${skipped}' needs a reason.`)
  }
  for (const fidelityCase of fidelityCases) {
    const { needs } = fidelityCase
    if (needs !== undefined && !offers.includes(needs)) continue
    const title = `${name}, ${fidelityCase.name}`
    const reason = skip[skipNameOf(fidelityCase)]
    if (reason === undefined) test(title, async () => fidelityCase.run(await server(), cookies))
    else test.skip?.(`${title} [${reason}]`, async () => {})
  }
}
