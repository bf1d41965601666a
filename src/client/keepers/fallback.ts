import { type KeeperError, type KeyKeeper, type KeptCall, unsettled } from './keeper.ts'

export interface FallbackKeeperOptions {
  /** Asked first. */
  readonly keeper: KeyKeeper
  /** Keeps what the first cannot, such as a `memoryKeeper()`. */
  readonly fallback: KeyKeeper
  /** Told of each call that the first could not keep: it survives only what the fallback survives. */
  readonly onFallback: (error: KeeperError) => void
}

/**
 * A keeper for where some protection is better than none: a shop that would rather sell in a private window, where
 * storage may be forbidden, and risk that a reload in mid-request is a second call. Without it a call that cannot be
 * kept is not sent.
 *
 * @example
 * const keeper = fallbackKeeper({ keeper: indexedDbKeeper(), fallback: memoryKeeper(), onFallback: report })
 */
export function fallbackKeeper({ keeper, fallback, onFallback }: FallbackKeeperOptions): KeyKeeper {
  /** What the first cannot do is done in the second alone. */
  async function both(verb: 'settle' | 'forget', call: KeptCall): Promise<void> {
    await fallback[verb](call)
    await keeper[verb](call).catch(onFallback)
  }
  return {
    async keep(fresh) {
      const held = (await fallback.list()).some(({ intent }) => intent === fresh.intent)
      // The first may have recovered meanwhile; the key stays where it is.
      if (held) return await fallback.keep(fresh)
      try {
        return await keeper.keep(fresh)
      } catch (error) {
        onFallback(error as KeeperError)
        return await fallback.keep(fresh)
      }
    },
    settle: (call) => both('settle', call),
    forget: (call) => both('forget', call),
    async list() {
      const first = await keeper.list().catch((error: KeeperError) => {
        onFallback(error)
        return []
      })
      return unsettled([...first, ...(await fallback.list())].map((call) => ({ call })))
    },
    ...(keeper.hold && { hold: keeper.hold.bind(keeper) }),
  }
}
