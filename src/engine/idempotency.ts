/** The instance: one store, one set of defaults, and the operations made from them. */
import type { Digest } from '../core/bytes.ts'
import type { Duration } from '../core/duration.ts'
import { toMilliseconds } from '../core/duration.ts'
import { InvalidOptionError, MalformedKeyError, UnsupportedInputError } from '../core/errors.ts'
import { valueFingerprint } from '../core/fingerprint.ts'
import { checkKey } from '../core/key.ts'
import { refuseUnknownOptions } from '../core/options.ts'
import type { Outcome } from '../core/outcome.ts'
import type { Fingerprint } from '../core/record.ts'
import type { Runtime } from '../core/runtime.ts'
import { checkPrincipal, principalTag, recordId } from '../core/scope.ts'
import type { SqlTransaction } from '../core/sql.ts'
import { type IdempotencyStore, joinsTransaction, type TransactionalStore } from '../core/store.ts'
import {
  checkName,
  checkStatement,
  checkValues,
  type OperationArguments,
  readArguments,
} from './arguments.ts'
import type { BeginRequest, Begun, BegunInTransaction, Reconcile, TransactionalBegin } from './attempt.ts'
import { Flights } from './flights.ts'
import { beginLease } from './lease-mode.ts'
import { createMachinery } from './machinery.ts'
import { nodeRuntime } from './node-runtime.ts'
import {
  asOperationResult,
  execute,
  type Operation,
  type OperationCall,
  type OperationOptions,
  type OperationResult,
  operationOf,
  type OperationRun,
  resultOf,
  resultOfNotRun,
  type TransactionRun,
} from './operation.ts'
import { type Policy, type PolicyOptions, policyOptionNames, resolvePolicy } from './policy.ts'
import type { Call } from './rounds.ts'
import { type OwnTransactions, ownTransactions } from './own-transactions.ts'
import { type CompressionOptions, type EncryptionOptions, outcomeSeal } from './outcome-seal.ts'
import { startSweeper, sweepNow } from './sweeper.ts'
import { beginInTransaction } from './transaction-attempt.ts'
import {
  transact,
  type Transacted,
  type Transactions,
  transactStatement,
  transactWithin,
} from './transaction-mode.ts'

export interface IdempotencyOptions<Store extends IdempotencyStore = IdempotencyStore> extends PolicyOptions {
  readonly store: Store
  /** Separates applications that share a store. Default `'default'`. */
  readonly namespace?: string
  /**
   * At least 16 bytes. Where set, record ids and fingerprints are keyed digests, so that nobody who reads the
   * store can confirm a guess. Changing it makes earlier keys new.
   */
  readonly secret?: string | Uint8Array
  /**
   * How often this process sweeps the store, or `false` to leave that to others. Default `'1m'`, and `false` where
   * the store's records expire by themselves (Redis, DynamoDB).
   */
  readonly sweep?: Duration | false
  /** Stored outcomes are compressed (zstd) where that saves something. `false`: never. Default: from 2,048 bytes. */
  readonly compression?: CompressionOptions | false
  /** Stored outcomes are encrypted (AES-256-GCM). Default: they are not. */
  readonly encryption?: EncryptionOptions
}

/** A call of `within`. */
export interface WithinCall<Input> extends Omit<OperationCall<Input>, 'signal'>, PolicyOptions {
  /** The operation's name, part of the scope. */
  readonly operation: string
}

/** Options of `statement`. */
export interface StatementOptions<Input> extends PolicyOptions {
  /** The part of the input that makes two requests the same. Default: all of it. */
  readonly fingerprint?: (input: Input) => unknown
}

/** `Tx` is the store's transaction handle; `never` for stores that join no transaction. */
export interface Idempotency<Tx = never> extends AsyncDisposable {
  /**
   * An operation whose effect lives elsewhere (lease mode).
   *
   * @throws InvalidOptionError
   * @example
   * const charge = idem.operation('charge', async (input: Charge, run) =>
   *   provider.pay(input, { idempotencyKey: run.downstreamKey('pay') }))
   * const { value, replayed } = await charge.run({ key, principal: user.id, input })
   */
  operation<Input, Output>(
    name: string,
    handler: (input: Input, run: OperationRun) => Promise<Output> | Output,
  ): Operation<Input, Output>
  operation<Input, Output>(
    name: string,
    options: OperationOptions<Input, Output>,
    handler: (input: Input, run: OperationRun) => Promise<Output> | Output,
  ): Operation<Input, Output>
  /**
   * An operation whose effect commits together with its record, in a transaction that the store opens.
   *
   * @throws InvalidOptionError also where the store joins no transaction
   * @example
   * const order = idem.transaction('order', async (input: Order, { tx }) => insertOrder(tx, input))
   */
  transaction<Input, Output>(
    name: string,
    handler: (input: Input, run: TransactionRun<Tx>) => Promise<Output> | Output,
  ): Operation<Input, Output>
  transaction<Input, Output>(
    name: string,
    options: Omit<OperationOptions<Input, Output>, 'onError'>,
    handler: (input: Input, run: TransactionRun<Tx>) => Promise<Output> | Output,
  ): Operation<Input, Output>
  /**
   * An operation that is one statement. On Postgres claim, statement and outcome are one round trip and one
   * commit; elsewhere they are a transaction. Its value is the rows that the statement returns, as JSON: write
   * `RETURNING`, and cast what JSON cannot carry (a `bigint` over 2^53) to text.
   *
   * @throws InvalidOptionError also where the store runs no statements
   * @example
   * const order = idem.statement('order', 'INSERT INTO orders (customer) VALUES ($1) RETURNING id',
   *   (input: Order) => [input.customer])
   */
  statement<Input, Row = Record<string, unknown>>(
    name: string,
    text: string,
    values: (input: Input) => readonly unknown[],
    options?: StatementOptions<Input>,
  ): Operation<Input, Row[]>
  /**
   * Runs `work` once for a key inside a transaction that the caller opened and will end. It waits for nothing
   * and retries nothing; do not report success before the transaction has committed.
   *
   * @throws as `run`; RetryTransactionError when the whole transaction must be tried again
   */
  within<Input, Output>(
    tx: Tx | SqlTransaction,
    call: WithinCall<Input>,
    work: () => Promise<Output> | Output,
  ): Promise<OperationResult<Output>>
  /** Asks for the right to run one key: what adapters for HTTP, queues and tools are built on. */
  begin(request: BeginRequest): Promise<Begun>
  /**
   * `begin` in transaction mode: each attempt has a transaction open that the store begins and commits, or, with
   * `own`, one that your code does.
   *
   * @throws InvalidOptionError where the store joins no transaction
   * @example
   * const begun = await idem.inTransactions(drizzleTransactions(db)).begin(request)
   * if (begun.kind === 'run') await begun.attempt.tx.insert(orders).values(order)
   */
  inTransactions(): TransactionalBegin<Tx>
  inTransactions<Own>(own: OwnTransactions<Own>): TransactionalBegin<Own>
  /** This instance's policy with some options changed. @throws InvalidOptionError */
  policy(options: PolicyOptions): Policy
  /** SHA-256, or its keyed form where a secret is set. */
  readonly digest: Digest
  readonly store: IdempotencyStore
  /**
   * Sweeps now, at most `limit` records (default 10,000); resolves to how many were removed.
   *
   * @throws InvalidOptionError when the limit is no whole number from 1
   */
  sweep(limit?: number): Promise<number>
  /** Refuses new calls, ends all waiting, and closes the store once running attempts have settled. */
  close(): Promise<void>
}

const instanceOptionNames = [
  'store',
  'namespace',
  'secret',
  'sweep',
  'compression',
  'encryption',
  ...policyOptionNames,
]
const withinCallNames = ['operation', 'key', 'principal', 'input', ...policyOptionNames]
const keyLimits = { lengthMin: 1, lengthMax: 255 }
const principalTagsMax = 10_000
const operationWaitMs = 10_000

/**
 * Creates an instance.
 *
 * @throws InvalidOptionError naming option, rule and value
 * @example
 * const idem = createIdempotency({ store: sqliteStore({ file: './idempotency.db' }), retention: '24h' })
 */
export function createIdempotency<Tx>(
  options: IdempotencyOptions<TransactionalStore<Tx>>,
  runtime?: Runtime,
): Idempotency<Tx>
export function createIdempotency(options: IdempotencyOptions, runtime?: Runtime): Idempotency
export function createIdempotency<Tx>(
  options: IdempotencyOptions | IdempotencyOptions<TransactionalStore<Tx>>,
  runtime: Runtime = nodeRuntime(options.secret),
): Idempotency<Tx> {
  refuseUnknownOptions('createIdempotency', options, instanceOptionNames)
  const { store, namespace = 'default' } = options
  if (typeof store !== 'object' || store === null || typeof store.claim !== 'function') {
    throw new InvalidOptionError('store', 'must be a store, such as memoryStore() or sqliteStore(..)')
  }
  checkName('namespace', namespace)
  const basePolicy = resolvePolicy(options)
  const operationPolicy = options.wait === undefined ? { ...basePolicy, waitMs: operationWaitMs } : basePolicy
  const seal = outcomeSeal(runtime.sealing, options.compression, options.encryption)
  const machinery = createMachinery(store, namespace, runtime, () => closing !== undefined, seal)
  const flights = new Flights()
  const principalTags = new Map<string, string>()
  const { sweep = store.capabilities.expiresByItself === true ? false : '1m' } = options
  const sweeper =
    sweep === false ? undefined : startSweeper(store, runtime, toMilliseconds('sweep', sweep, { min: '1s' }))
  let closing: Promise<void> | undefined

  function callOf(
    given: {
      key: unknown
      principal: unknown
      scope: string
      operation: string
      signal: AbortSignal | undefined
    },
    fingerprint: Fingerprint,
    policy: Policy,
  ): Call {
    const parsed = checkKey(given.key, keyLimits)
    if (parsed.kind === 'malformed') throw new MalformedKeyError(parsed.rule)
    const principal = checkPrincipal(given.principal)
    const { digest } = runtime
    return {
      machinery,
      flights,
      identity: {
        id: recordId(digest, { namespace, principal, operation: given.scope }, parsed.key),
        principalTag: tagOf(principal),
        operation: given.operation,
      },
      fingerprint,
      policy,
      signal: given.signal,
    }
  }

  /** Principals come back call after call; their tags are kept, up to a bound. */
  function tagOf(principal: string): string {
    let tag = principalTags.get(principal)
    if (tag === undefined) {
      if (principalTags.size >= principalTagsMax) principalTags.clear()
      tag = principalTag(runtime.digest, namespace, principal)
      principalTags.set(principal, tag)
    }
    return tag
  }

  function inputFingerprint(name: string, input: unknown): Fingerprint {
    const made = valueFingerprint(runtime.digest, name, input)
    if (made.kind === 'unsupported') throw new UnsupportedInputError(made.path)
    return made.fingerprint
  }

  function operationCall<Input, Output>(
    name: string,
    options: OperationOptions<Input, Output>,
    policy: Policy,
    call: OperationCall<Input>,
  ): Call {
    const { key, principal, input, signal } = call
    const compared = options.fingerprint === undefined ? input : options.fingerprint(input)
    return callOf(
      { key, principal, scope: name, operation: name, signal },
      inputFingerprint(name, compared),
      policy,
    )
  }

  function transactionalStore(): TransactionalStore<Tx> {
    if (!joinsTransaction(store)) {
      throw new InvalidOptionError('store', `joins no transaction (${store.name}); use operation() instead`)
    }
    return store as TransactionalStore<Tx>
  }

  const idempotency: Idempotency<Tx> = {
    digest: runtime.digest,
    store,
    policy: (changed) => resolvePolicy(changed, basePolicy),

    operation<Input, Output>(
      name: string,
      ...rest: OperationArguments<Input, Output, OperationRun>
    ): Operation<Input, Output> {
      const [given, handler] = readArguments(name, rest)
      const policy = resolvePolicy(given, operationPolicy)
      return operationOf(name, async (call) => {
        const reconcile = reconcileWith(given, call.input)
        const begun = await beginLease(operationCall(name, given, policy, call), reconcile)
        if (begun.kind !== 'run') return resultOfNotRun(begun)
        return await execute(begun.attempt, call.input, handler, given.onError)
      })
    },

    transaction<Input, Output>(
      name: string,
      ...rest: OperationArguments<Input, Output, TransactionRun<Tx>>
    ): Operation<Input, Output> {
      const [given, handler] = readArguments(name, rest)
      const policy = resolvePolicy(given, operationPolicy)
      const joined = transactionalStore()
      return operationOf(name, async (operation) => {
        const call = operationCall(name, given, policy, operation)
        const { id } = call.identity
        const downstreamKey = (part: string): string => machinery.downstreamKey(id, part)
        const work = async (tx: Tx, fence: number): Promise<Outcome> => {
          const value = await handler(operation.input, { tx, fence, downstreamKey })
          return { kind: 'value', value }
        }
        const signal = new AbortController().signal
        const asked = given.reconcile
        const reconcile =
          asked === undefined
            ? undefined
            : async (): Promise<Outcome | undefined> =>
                adoptable(await asked(operation.input, { fence: 0, signal, downstreamKey }))
        return resultOfTransacted(await transact(call, joined, work, reconcile))
      })
    },

    statement<Input, Row>(
      name: string,
      text: string,
      values: (input: Input) => readonly unknown[],
      given: StatementOptions<Input> = {},
    ): Operation<Input, Row[]> {
      checkStatement(name, text, values, given)
      const policy = resolvePolicy(given, operationPolicy)
      const joined = transactionalStore()
      if (joined.execute === undefined) {
        throw new InvalidOptionError('store', `runs no statements (${store.name}); use transaction() instead`)
      }
      return operationOf(name, async (operation) => {
        const statement = { text, values: checkValues(values(operation.input)) }
        const call = operationCall(name, given, policy, operation)
        return resultOfTransacted<Row[]>(await transactStatement(call, joined, statement))
      })
    },

    async within<Input, Output>(
      tx: Tx | SqlTransaction,
      given: WithinCall<Input>,
      work: () => Promise<Output> | Output,
    ): Promise<OperationResult<Output>> {
      refuseUnknownOptions('within', given, withinCallNames)
      const { operation, key, principal, input, ...policyOptions } = given
      checkName('operation', operation)
      const policy = resolvePolicy(policyOptions, basePolicy)
      const fingerprint = inputFingerprint(operation, input)
      const call = callOf(
        { key, principal, scope: operation, operation, signal: undefined },
        fingerprint,
        policy,
      )
      const ended = await transactWithin(call, transactionalStore(), tx, async () => ({
        kind: 'value',
        value: await work(),
      }))
      return asOperationResult(resultOfTransacted(ended))
    },

    async begin(request: BeginRequest): Promise<Begun> {
      const { key, principal, scope, operation = scope, fingerprint, policy, signal } = request
      const call = callOf({ key, principal, scope, operation, signal }, fingerprint, policy)
      return await beginLease(call, request.reconcile)
    },

    inTransactions<Own>(own?: OwnTransactions<Own>): TransactionalBegin<Tx | Own> {
      const joined = transactionalStore()
      const transactions: Transactions<Tx> | Transactions<Own> =
        own === undefined ? joined : ownTransactions(joined as TransactionalStore<unknown>, own)
      return {
        async begin(request): Promise<BegunInTransaction<Tx | Own>> {
          const { key, principal, scope, operation = scope, fingerprint, policy, signal } = request
          const call = callOf({ key, principal, scope, operation, signal }, fingerprint, policy)
          return await beginInTransaction(call, transactions as Transactions<Tx | Own>)
        },
      }
    },

    sweep: (limit) => sweepNow(store, limit),

    close(): Promise<void> {
      closing ??= closeAll()
      return closing
    },

    [Symbol.asyncDispose](): Promise<void> {
      return idempotency.close()
    },
  }

  async function closeAll(): Promise<void> {
    sweeper?.close()
    machinery.waiters.close()
    await Promise.all(flights.all().map(endOfFlight))
    machinery.keeper.close()
    await store.close()
  }

  return idempotency
}

async function endOfFlight(flight: {
  begun: Promise<{ kind: string }>
  ended: Promise<unknown>
}): Promise<void> {
  const leader = await flight.begun
  if (leader.kind === 'run') await flight.ended
}

function reconcileWith<Input, Output>(
  options: OperationOptions<Input, Output>,
  input: Input,
): Reconcile | undefined {
  const { reconcile } = options
  return reconcile === undefined ? undefined : async (run) => adoptable(await reconcile(input, run))
}

function adoptable<Output>(
  found: { kind: 'applied'; value: Output } | { kind: 'not-applied' },
): Outcome | undefined {
  return found.kind === 'applied' ? { kind: 'value', value: found.value } : undefined
}

function resultOfTransacted<Output>(ended: Transacted): ReturnType<typeof resultOfNotRun<Output>> {
  return ended.kind === 'executed' ? resultOf('executed', ended.outcome) : resultOfNotRun(ended)
}
