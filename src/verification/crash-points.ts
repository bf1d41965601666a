/**
 * Named places in the life of a call at which a process can end, be paused or lose its connection. A store that is
 * wrapped says when each is reached, and goes on when it is let.
 */
import {
  type IdempotencyStore,
  joinsTransaction,
  type RecordVerbs,
  type Settlement,
  type TransactionalStore,
} from '../core/store.ts'

/** The places around the verbs of a store. */
export type StorePoint =
  | 'before claim'
  | 'claim answered'
  | 'before takeover'
  | 'takeover answered'
  | 'before renewal'
  | 'renewal answered'
  | 'before settlement'
  | 'settlement answered'
  | 'before release'
  | 'release answered'
  | 'before transaction'
  | 'before commit'
  | 'commit answered'
  | 'before statement'
  | 'statement answered'
  | 'before sweep'
  | 'sweep answered'

/** The places in a handler; the handler itself says that it is there. */
export type HandlerPoint = 'in handler' | 'effect written' | 'handler returns'

export type CrashPoint = StorePoint | HandlerPoint

/** All of them, in the order of a call. */
export const crashPointNames: readonly CrashPoint[] = [
  'before transaction',
  'before statement',
  'before claim',
  'claim answered',
  'before takeover',
  'takeover answered',
  'in handler',
  'before renewal',
  'renewal answered',
  'effect written',
  'handler returns',
  'before settlement',
  'settlement answered',
  'before release',
  'release answered',
  'before commit',
  'commit answered',
  'statement answered',
  'before sweep',
  'sweep answered',
]

/** Called at a place; what it returns is waited for. */
export type Reach = (point: CrashPoint) => Promise<void> | void

/**
 * The same store, which says where it is.
 *
 * @param reach called at each place, before the store goes on
 * @example
 * const store = withCrashPoints(postgresStore({ pool }), (point) => {
 *   if (point === 'before commit') process.kill(process.pid, 'SIGKILL')
 * })
 */
export function withCrashPoints<Store extends IdempotencyStore>(store: Store, reach: Reach): Store {
  const around = async <Reply>(
    before: StorePoint,
    after: StorePoint,
    call: () => Promise<Reply>,
  ): Promise<Reply> => {
    await reach(before)
    const reply = await call()
    await reach(after)
    return reply
  }
  const watched = (verbs: RecordVerbs): RecordVerbs => ({
    claim: (claims) => around('before claim', 'claim answered', () => verbs.claim(claims)),
    supersede: (takeovers) =>
      around('before takeover', 'takeover answered', () => verbs.supersede(takeovers)),
    settle: (settlements) =>
      areReleases(settlements)
        ? around('before release', 'release answered', () => verbs.settle(settlements))
        : around('before settlement', 'settlement answered', () => verbs.settle(settlements)),
    read: (ids) => verbs.read(ids),
  })
  const plain: IdempotencyStore = {
    name: store.name,
    capabilities: { ...store.capabilities, answersInProcess: false },
    ...watched(store),
    renew: (renewals) => around('before renewal', 'renewal answered', () => store.renew(renewals)),
    sweep: (limit) => around('before sweep', 'sweep answered', () => store.sweep(limit)),
    list: (query) => store.list(query),
    close: () => store.close(),
    [Symbol.asyncDispose]: () => store.close(),
  }
  const whole = joinsTransaction(store)
    ? { ...plain, ...watchedTransactions(store, watched, around, reach) }
    : plain
  return whole as unknown as Store
}

function watchedTransactions(
  store: TransactionalStore<unknown>,
  watched: (verbs: RecordVerbs) => RecordVerbs,
  around: <Reply>(before: StorePoint, after: StorePoint, call: () => Promise<Reply>) => Promise<Reply>,
  reach: Reach,
): Omit<TransactionalStore<unknown>, keyof IdempotencyStore> {
  const { execute, once, asksForRetry } = store
  return {
    transaction: (work, opening) =>
      around('before transaction', 'commit answered', () =>
        store.transaction(async (tx, records) => {
          const verdict = await work(tx, watched(records))
          if (verdict.kind === 'commit') await reach('before commit')
          return verdict
        }, opening),
      ),
    join: (tx) => watched(store.join(tx)),
    ...(asksForRetry === undefined ? {} : { asksForRetry: (error) => asksForRetry.call(store, error) }),
    ...(execute === undefined ? {} : { execute: (tx, statement) => execute.call(store, tx, statement) }),
    ...(once === undefined
      ? {}
      : { once: (asked) => around('before statement', 'statement answered', () => once.call(store, asked)) }),
  }
}

function areReleases(settlements: readonly Settlement[]): boolean {
  return settlements.length > 0 && settlements.every(({ to }) => to === 'released')
}
