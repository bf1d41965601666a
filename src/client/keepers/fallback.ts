import { InvalidOptionError } from '../../core/errors.ts'
import { refuseUnknownOptions } from '../../core/options.ts'
import { checkKeeper } from '../check-options.ts'
import type { KeeperError, KeptCall, KeyKeeper } from './keeper.ts'

export interface FallbackKeeperOptions {
  /** Asked first. */
  readonly keeper: KeyKeeper
  /** Keeps what the first cannot, such as a `memoryKeeper()`. */
  readonly fallback: KeyKeeper
  /** Told of each verb that the first could not do: what it was about survives only what the fallback survives. */
  readonly onFallback: (error: KeeperError) => void
}

/**
 * A keeper for where some protection is better than none: a shop that would rather sell in a private window, where
 * storage may be forbidden, and risk that a reload in mid-request is a second call. Without it a call that cannot be
 * kept is not sent.
 *
 * @throws InvalidOptionError
 * @example
 * const keeper = fallbackKeeper({ keeper: indexedDbKeeper(), fallback: memoryKeeper(), onFallback: report })
 */
export function fallbackKeeper(options: FallbackKeeperOptions): KeyKeeper {
  refuseUnknownOptions('fallbackKeeper', options, ['keeper', 'fallback', 'onFallback'])
  const { keeper, fallback, onFallback } = options
  for (const [name, value] of Object.entries({ keeper, fallback })) checkKeeper(name, value)
  if (typeof onFallback !== 'function') {
    throw new InvalidOptionError('onFallback', 'must be a function', onFallback)
  }
  /** What the first cannot do is done in the second alone. */
  async function firstOf<Answer>(ask: (keeper: KeyKeeper) => Promise<Answer>): Promise<Answer> {
    try {
      return await ask(keeper)
    } catch (error) {
      onFallback(error as KeeperError)
      return await ask(fallback)
    }
  }

  async function both(verb: 'settle' | 'forget' | 'withdraw', call: KeptCall): Promise<void> {
    await fallback[verb](call)
    await keeper[verb](call).catch(onFallback)
  }

  return {
    async keep(fresh) {
      // The first may have recovered meanwhile; the key stays where it is.
      const isFallen = (await fallback.find(fresh.intent)) !== undefined
      return isFallen ? await fallback.keep(fresh) : await firstOf((either) => either.keep(fresh))
    },
    async find(intent) {
      return (await fallback.find(intent)) ?? (await firstOf((either) => either.find(intent)))
    },
    async share(call) {
      // Where the first does not answer, its call is kept again in the second by whoever sends it.
      return (await fallback.share(call)) || (await firstOf((either) => either.share(call)))
    },
    settle: (call) => both('settle', call),
    forget: (call) => both('forget', call),
    withdraw: (call) => both('withdraw', call),
    async list() {
      const first = await keeper.list().catch((error: KeeperError) => {
        onFallback(error)
        return []
      })
      const own = await fallback.list()
      const isOwn = new Set(own.map(({ intent }) => intent))
      return [...first.filter(({ intent }) => !isOwn.has(intent)), ...own].sort(
        (one, other) => one.createdAt - other.createdAt,
      )
    },
    ...(keeper.hold && { hold: keeper.hold.bind(keeper) }),
  }
}
