/** How a target is configured; a case that needs an undeclared capability is not applicable. */
export const capabilities = [
  'do',
  'auth',
  'raw',
  'get',
  'patch',
  'put',
  'route2',
  'cors',
  'required',
  'optional',
  'reject',
  'wait',
  'lenient',
  'strict',
  'json',
  'bytes',
  'multipart',
  'decode',
  'store4xx',
  'release5xx',
  'store5xx',
  'ttl2s',
  'expirenew',
  'tomb',
  'lease1s',
  'limit',
  'kill',
  'crash-rerun',
  'crash-reject',
  'transaction',
  'two',
  'storedown',
  'gateway',
  'h2',
] as const

/** One word of {@link capabilities}. */
export type Capability = (typeof capabilities)[number]

/** `core`: the draft or plain at-most-once sense. `profile`: a recommended default. `option`: configured so. */
export type Tier = 'core' | 'profile' | 'option'

/** One status, several (`[409, 422]`), or several as text (`'409,422'`); any of them passes. */
export type StatusVariable = number | string | readonly number[]

/** Where two correct targets may differ. Defaults are the `vars` of `cases.yaml`. */
export interface TargetVariables {
  readonly missing: StatusVariable
  readonly malformed: StatusVariable
  readonly mismatch: StatusVariable
  readonly inflight: StatusVariable
  readonly expired: StatusVariable
  readonly unknown: StatusVariable
  readonly toolarge: StatusVariable
  readonly down: StatusVariable
  readonly crosspath: StatusVariable
  /** Name of the header field that marks a replay; `null` when the target has none. */
  readonly marker: string | null
  /** Whether the problem member `code` must be the word of the case. */
  readonly codes: boolean
}

/** What a target says of itself before it runs; enough to tell which cases apply. */
export interface TargetDeclaration {
  readonly caps: readonly Capability[]
  readonly vars?: Partial<TargetVariables>
  /** Tiers to run. Default: all. */
  readonly tiers?: readonly Tier[]
  /** Case id to the reason it is not run. */
  readonly skip?: Readonly<Record<string, string>>
}

/** Where a running target is reached. */
export interface TargetAddresses {
  /** Origin of the first instance, for example `http://127.0.0.1:4000`. */
  readonly url: string
  /** Origin of the second instance; needed by capability `two`. */
  readonly url2?: string
  /** Origin that speaks HTTP/2 (prior knowledge over `http:`); needed by capability `h2`. */
  readonly urlH2?: string
  /** Kills the process if it still lives, starts it again on the same state, resolves when it answers. Needed by `kill`. */
  restart?(): Promise<void>
}

/** A running target and what it declares: all that a case needs. */
export interface TargetDescription extends TargetDeclaration, TargetAddresses {
  readonly name: string
}

/** The capability words in `text`, a comma list. Throws a `RangeError` that names an unknown word. */
export function parseCapabilities(text: string): Capability[] {
  return text
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '')
    .map((word) => {
      const known = capabilities.find((capability) => capability === word)
      if (known === undefined) {
        throw new RangeError(`Capability "${word}" is not one of: ${capabilities.join(' ')}`)
      }
      return known
    })
}

/** The rule that a target breaks when it declares a capability without the address it needs, if there is one. */
export function lackingAddress(declared: TargetDeclaration, addresses: TargetAddresses): string | undefined {
  if (declared.caps.includes('two') && addresses.url2 === undefined) return 'capability "two" needs url2'
  if (declared.caps.includes('h2') && addresses.urlH2 === undefined) return 'capability "h2" needs urlH2'
  if (declared.caps.includes('kill') && addresses.restart === undefined)
    return 'capability "kill" needs restart'
  return undefined
}
