/** Server actions. */
import { resultRule } from '../../core/result-rule.ts'
import {
  type ActionEngine,
  type ActionRun,
  guardFunction,
  type ThrownResults,
  type ValueGuardOptions,
} from '../value-guard.ts'
import { errorOf, readThrown } from './thrown.ts'

/** Options of `idempotentAction`. `Refused` is what `onRefused` returns. */
export interface IdempotentActionOptions<Args extends unknown[], Refused = never>
  extends ValueGuardOptions<Args, Refused> {}

/** A server action. What its arguments are is read off it, so that a resolver that takes none fits too. */
export type ActionHandler = (this: ActionRun | undefined, ...args: never[]) => unknown

const resultOf = resultRule('release')

const thrownByNext: ThrownResults = {
  read(thrown) {
    const result = readThrown(thrown)
    if (result === undefined) return undefined
    const verdict = resultOf(result.status) === 'keep' ? 'keep' : 'release'
    return { stored: result.digest, verdict }
  },
  restore: (digest) => errorOf(String(digest)),
}

/**
 * Makes a server action run once for each key. The key is a hidden field of the form (`idempotencyKeyField`), or what
 * the option `key` finds in the arguments. A duplicate gets the value of the first call; it waits while that is still
 * running. `redirect()` and `notFound()` are results: a duplicate is redirected too. What else the handler throws
 * releases the key.
 *
 * Values must be plain data (also Date, Map, Set, bigint and Uint8Array). Another value is refused with
 * `UnstorableOutcomeError`, which the first caller gets too: the effect took place and is not run again.
 *
 * A handler that is written as a `function` has its attempt as `this`, `undefined` where the call has no key.
 *
 * @throws InvalidOptionError at construction. The action throws, unless `onRefused` answers: MissingKeyError,
 * MalformedKeyError, KeyReusedError, InProgressError, OutcomeUnknownError, KeyExpiredError, ReplayedError,
 * InvalidPrincipalError, UnsupportedInputError, UnstorableOutcomeError, StoreUnavailableError
 * @example
 * 'use server'
 * export const pay = idempotentAction(
 *   idem,
 *   { operation: 'pay', principal: () => userId(), required: true },
 *   async (form: FormData) => {
 *     const { id } = await charge(Number(form.get('amount')))
 *     redirect(`/charges/${id}`)
 *   },
 * )
 */
export function idempotentAction<Handler extends ActionHandler, Refused = never>(
  idem: ActionEngine,
  options: IdempotentActionOptions<Parameters<Handler>, Refused>,
  handler: Handler,
): (...args: Parameters<Handler>) => Promise<Awaited<ReturnType<Handler>> | Refused> {
  const run = handler as unknown as (...args: Parameters<Handler>) => Awaited<ReturnType<Handler>>
  return guardFunction(idem, options, thrownByNext, run)
}
