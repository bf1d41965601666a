/** The store as one process has it: the contract's verbs, each a round trip to the model of the database. */
import { StoreError } from '../../core/errors.ts'
import { encodeOutcome } from '../../core/outcome.ts'
import type { IdempotencyRecord, RecordId } from '../../core/record.ts'
import type { SqlTransaction } from '../../core/sql.ts'
import type {
  Claim,
  ClaimReply,
  ListPage,
  RecordVerbs,
  Renewal,
  RenewalReply,
  Replies,
  Settlement,
  Statement,
  StatementEnd,
  StatementOnce,
  StoreCapabilities,
  SweepReply,
  TransactionalStore,
  TransactionEnd,
  TransactionVerdict,
} from '../../core/store.ts'
import { chanceOf, evictions } from './faults.ts'
import type { Effect, OpenTransaction, SimDatabase } from './database.ts'
import type { ConnectionEnds, Network } from './network.ts'
import type { SimProcess } from './process.ts'
import type { World } from './world.ts'

/** How soon a server ends the transaction of a client that is gone. */
const abortAfterMs = [20, 1_500]
const abortChances = chanceOf(0.3, abortAfterMs.length)

/** A transaction, as handlers get it. */
export interface SimTransaction {
  readonly kind: 'simulated'
  /** The token under which this transaction claimed. */
  token: string
  insert(effect: Effect): Promise<void>
}

/** A transaction that is open on a connection. */
export interface OpenSimTransaction extends SimTransaction {
  readonly connection: Connection
}

/** One connection: its messages keep their order, and after a lost one it is of no use any more. */
class Connection implements ConnectionEnds {
  readonly tx: OpenTransaction
  readonly #store: SimStore
  arrivesAt = 0
  broken = false

  constructor(store: SimStore) {
    this.#store = store
    this.tx = store.database.begin()
  }

  get isOpen(): boolean {
    return this.tx.state === 'open'
  }

  async step<Reply>(name: string, apply: () => Reply): Promise<Reply> {
    if (this.broken) throw new StoreError('lost', 'The connection has ended.')
    return await this.#store.roundTrip(name, [], apply, this)
  }

  /** The server notices after a while that the client is gone. What was sent before arrives before that. */
  end(): void {
    if (this.broken) return
    this.broken = true
    const { world, database } = this.#store
    const afterMs = world.quiet ? 20 : (abortAfterMs[world.tape.weighted('abort', abortChances)] as number)
    const inFlightMs = Math.max(0, this.arrivesAt - world.time)
    world.later(inFlightMs + afterMs, 'a transaction of nobody ends', () => database.abort(this.tx))
  }
}

export class SimStore implements TransactionalStore<SimTransaction> {
  readonly name = 'simulated'
  readonly capabilities: StoreCapabilities
  readonly world: World
  readonly database: SimDatabase
  readonly #network: Network
  readonly #process: SimProcess
  readonly #connections = new Set<Connection>()
  readonly #evictions: readonly number[] | undefined
  #closed = false

  /** @param evictions where records may be gone at any moment: the weights of `evictions` */
  constructor(
    world: World,
    database: SimDatabase,
    network: Network,
    process: SimProcess,
    evictions?: readonly number[],
  ) {
    const evicts = evictions !== undefined
    this.capabilities = {
      clock: 'store',
      joinsTransaction: !evicts,
      batchMax: 100,
      flightsMax: 4,
      outcomeBytesMax: 1_000_000,
      expiryGranularityMs: 1,
      expiresByItself: evicts,
    }
    this.#evictions = evictions
    this.world = world
    this.database = database
    this.#network = network
    this.#process = process
  }

  claim(claims: readonly Claim[]): ReturnType<RecordVerbs['claim']> {
    const ids = claims.map(({ id }) => id)
    return this.roundTrip('claim', ids, () => this.database.claim(claims)).then((answer) => {
      for (const [at, reply] of answer.replies.entries()) this.#notice(claims[at], reply, answer.now)
      return answer
    })
  }

  supersede(takeovers: Parameters<RecordVerbs['supersede']>[0]): ReturnType<RecordVerbs['supersede']> {
    const ids = takeovers.map(({ claim }) => claim.id)
    return this.roundTrip('supersede', ids, () => this.database.supersede(takeovers)).then((answer) => {
      for (const [at, reply] of answer.replies.entries())
        this.#notice(takeovers[at]?.claim, reply, answer.now)
      return answer
    })
  }

  renew(renewals: readonly Renewal[]): Promise<Replies<RenewalReply>> {
    return this.roundTrip(
      'renew',
      renewals.map(({ id }) => id),
      () => this.database.renew(renewals),
    ).then((answer) => {
      // Nothing is left to run or to give back.
      for (const [at, reply] of answer.replies.entries()) {
        if (reply.kind === 'lost') this.#tellOwn(renewals[at]?.token ?? '', 'given back')
      }
      return answer
    })
  }

  settle(settlements: readonly Settlement[]): ReturnType<RecordVerbs['settle']> {
    for (const { token } of settlements) this.#tellOwn(token, 'given back')
    return this.roundTrip(
      'settle',
      settlements.map(({ id }) => id),
      () => this.database.settle(settlements),
    )
  }

  read(ids: readonly RecordId[]): Promise<Replies<IdempotencyRecord | undefined>> {
    return this.roundTrip('read', [], () => {
      this.#loseSome(ids)
      return this.database.read(ids)
    })
  }

  sweep(limit: number): Promise<SweepReply> {
    return this.roundTrip('sweep', [], () => this.database.sweep(limit))
  }

  list(): Promise<ListPage> {
    return Promise.reject(new Error('Nobody lists records in a simulated run.'))
  }

  async close(): Promise<void> {
    this.#closed = true
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** The connections that a crash leaves behind. */
  breakAll(): void {
    for (const connection of this.#connections) connection.end()
  }

  async transaction<Value>(
    work: (tx: SimTransaction, records: RecordVerbs) => Promise<TransactionVerdict<Value>>,
    opening?: Claim,
  ): Promise<TransactionEnd<Value>> {
    const { tx, opened } = await this.open(opening)
    const { connection } = tx
    try {
      let verdict: TransactionVerdict<Value>
      try {
        verdict = await work(tx, this.#verbs(tx, opened))
      } catch (error) {
        await this.rollBack(tx)
        throw error
      }
      if (verdict.kind === 'roll-back') {
        await this.rollBack(tx)
        return { kind: 'rolled-back', value: verdict.value }
      }
      const { value, settlement } = verdict
      if (connection.broken) throw new StoreError('lost', 'The connection has ended.')
      try {
        const committed = await connection.step('COMMIT', () =>
          this.database.commit(connection.tx, settlement),
        )
        return committed ? { kind: 'committed', value } : { kind: 'refused' }
      } catch (error) {
        // What the server refused it did not do; what nobody answered it may have done.
        if (!(error instanceof StoreError) || error.failure === 'transient') {
          await this.rollBack(tx)
          throw error
        }
        return { kind: 'unknown', value, error }
      }
    } finally {
      this.#connections.delete(connection)
    }
  }

  /** Opens a transaction; the first claim travels with it. */
  async open(opening?: Claim): Promise<{ tx: OpenSimTransaction; opened: Replies<ClaimReply> | undefined }> {
    const connection = new Connection(this)
    this.#connections.add(connection)
    const tx: OpenSimTransaction = {
      kind: 'simulated',
      connection,
      token: '',
      insert: async (effect) => {
        // As a client library's error: it is none of the store's.
        await connection
          .step('INSERT', () => void connection.tx.effects.push(effect))
          .catch((cause: unknown) => {
            throw new Error('The statement failed.', { cause })
          })
      },
    }
    try {
      const opened = await connection.step('BEGIN', () =>
        opening === undefined
          ? undefined
          : { now: this.database.now, replies: [this.database.claimIn(connection.tx, opening)] },
      )
      return { tx, opened }
    } catch (error) {
      connection.end()
      throw error
    }
  }

  /** Ends a transaction without its writes. */
  async rollBack({ connection }: OpenSimTransaction): Promise<void> {
    await connection.step('ROLLBACK', () => this.database.abort(connection.tx)).catch(() => {})
    connection.end()
    this.#connections.delete(connection)
  }

  join(tx: SimTransaction | SqlTransaction): RecordVerbs {
    return this.#verbs(tx as OpenSimTransaction, undefined)
  }

  async execute(tx: SimTransaction, { values }: Statement): Promise<unknown> {
    const effect = values[0] as Effect
    await tx.insert({ ...effect, token: tx.token })
    return [valueOf(effect)]
  }

  async once({ statement, claim, retentionMs, tombstoneMs }: StatementOnce): Promise<StatementEnd> {
    const effect = { ...(statement.values[0] as Effect), token: claim.token }
    const outcome = encodeOutcome({ kind: 'value', value: [valueOf(effect)] })
    const { id, token } = claim
    const completed: Settlement = { id, token, to: 'completed', outcome, retentionMs, tombstoneMs }
    try {
      const applied = await this.roundTrip('once', [id], () => this.database.once(claim, completed, effect))
      return applied ? { kind: 'applied', outcome } : { kind: 'refused' }
    } catch (error) {
      if (!(error instanceof StoreError)) throw error
      return error.failure === 'transient' ? { kind: 'refused' } : { kind: 'unknown', error }
    }
  }

  protected pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#process.runtime.timers.after(ms, resolve))
  }

  roundTrip<Reply>(
    name: string,
    ids: readonly RecordId[],
    apply: () => Reply,
    connection?: ConnectionEnds,
  ): Promise<Reply> {
    if (this.#closed) return Promise.reject(new StoreError('permanent', 'The store is closed.'))
    return this.#network.send<Reply>({
      name,
      process: this.#process,
      server: this.database,
      apply: (answer) =>
        this.database.whenUnlocked(ids, () => {
          if (ids.length > 0) this.#loseSome(ids)
          answer(apply())
        }),
      ...(connection === undefined ? {} : { connection }),
    })
  }

  #verbs(tx: OpenSimTransaction, opened: Replies<ClaimReply> | undefined): RecordVerbs {
    const { connection } = tx
    let first = opened
    const each = async <Item, Reply>(
      name: string,
      items: readonly Item[],
      apply: (item: Item) => Reply,
    ): Promise<Replies<Reply>> =>
      await connection.step(name, () => ({ now: this.database.now, replies: items.map(apply) }))
    return {
      claim: async (claims) => {
        tx.token = claims[0]?.token ?? ''
        if (first !== undefined) {
          const answer = first
          first = undefined
          return answer
        }
        return await each('claim in transaction', claims, (claim) =>
          this.database.claimIn(connection.tx, claim),
        )
      },
      supersede: (takeovers) =>
        each('supersede in transaction', takeovers, (takeover) =>
          this.database.supersedeIn(connection.tx, takeover),
        ),
      settle: (settlements) =>
        each('settle in transaction', settlements, (settlement) =>
          this.database.settleIn(connection.tx, settlement),
        ),
      read: (ids) => each('read in transaction', ids, (id) => this.database.readIn(connection.tx, id)),
    }
  }

  /** A store that evicts may do it right before any verb. */
  #loseSome(ids: readonly RecordId[]): void {
    const { world, database } = this
    if (this.#evictions === undefined || world.quiet) return
    const what = evictions[world.tape.weighted('eviction', this.#evictions)] ?? 'keeps'
    if (what === 'keeps') return
    world.record({ type: 'fault', fault: `store ${what}`, target: 'store' })
    if (what === 'is flushed') database.evict()
    else database.evict(ids)
  }

  /** An answer that shows a process its own live claim obliges it to run, or to give the key back. */
  #notice(
    claim: Claim | undefined,
    reply: { kind: string; record?: IdempotencyRecord | undefined },
    now: number,
  ): void {
    const { record } = reply
    if (claim === undefined || record?.phase !== 'running') return
    if (record.token !== claim.token || now >= record.leaseUntil) return
    this.#tellOwn(claim.token, 'seen')
  }

  #tellOwn(token: string, what: 'seen' | 'given back'): void {
    this.world.record({ type: 'own-claim', process: this.#process.name, token, what })
  }
}

/** What an effect's caller is told. */
export function valueOf({ principal, key, request, effect }: Effect): string {
  return `${principal}|${key}|${request}|${effect}`
}
