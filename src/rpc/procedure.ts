/** The options of a procedure's middleware, resolved, and one call of it from key to settled answer. */
import { InvalidOptionError } from '../core/errors.ts'
import type { GuardedRun } from '../engine/guarded-run.ts'
import { createCallGuard, type GuardedCall, type Instead } from './guard.ts'
import { type CallOptions, checkFunction, resolveGuard, type RpcEngine } from './options.ts'

/** What a handler's answer is to its middleware: the framework's own result, and what is stored of it. */
export interface Produced<Result> {
  readonly result: Result
  /** The status of HTTP that says the same. */
  readonly status: number
  readonly value: unknown
}

export type CallEnd<Result> =
  /** There is no key, or no store: nothing was settled. */
  | { readonly kind: 'passed'; readonly result: Result }
  | { readonly kind: 'executed'; readonly result: Result }
  | Instead

export interface ProcedureGuard<Call> {
  /**
   * Runs a call once for its key. `work` answers for every end of the handler and rejects for none; it gets
   * `undefined` where the call is not protected.
   */
  run<Result>(
    call: Call,
    operation: string,
    input: () => unknown,
    work: (run: GuardedRun | undefined) => Promise<Produced<Result>>,
  ): Promise<CallEnd<Result>>
}

/** @throws InvalidOptionError naming option, rule and value */
export function procedureGuard<Call>(
  engine: RpcEngine,
  protocol: string,
  options: CallOptions<Call>,
): ProcedureGuard<Call> {
  const resolved = resolveGuard(engine, options, ['key', 'fingerprint'])
  const { principal, key, fingerprint } = options
  if (typeof key !== 'function') {
    throw new InvalidOptionError('key', 'must be a function of the call that returns its key', key)
  }
  checkFunction('fingerprint', fingerprint, 'must be a function of the call')
  const guard = createCallGuard(engine, protocol, resolved)

  return {
    async run(call, operation, input, work) {
      const guarded: GuardedCall = {
        operation,
        key: () => key(call),
        principal: () => (principal === 'anonymous' ? principal : principal(call)),
        input: () => (fingerprint === undefined ? input() : fingerprint(call)),
      }
      const opened = await guard.open(guarded)
      if (opened.kind === 'pass') return { kind: 'passed', result: (await work(undefined)).result }
      if (opened.kind !== 'run') return opened
      const { result, status, value } = await work(opened.run)
      const instead = await guard.settle(opened.run, { kind: 'answered', status, value })
      return instead ?? { kind: 'executed', result }
    },
  }
}
