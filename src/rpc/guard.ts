/**
 * One call for one key, without any framework: the key belongs to a procedure call or a mutation field, and the
 * outcome is a value.
 *
 *   open    pass (no key, or the store is down and the options say so) | run | replay | refused
 *   settle  send the handler's answer as it is, or a replay or a refusal instead of it
 */
import {
  InvalidPrincipalError,
  isIdempotencyError,
  MalformedKeyError,
  MissingKeyError,
  UnsupportedInputError,
} from '../core/errors.ts'
import { valueFingerprint } from '../core/fingerprint.ts'
import { checkKey } from '../core/key.ts'
import { checkPrincipal } from '../core/scope.ts'
import type { Settled } from '../engine/attempt.ts'
import { report } from '../engine/events.ts'
import { GuardedRun } from '../engine/guarded-run.ts'
import type { ResolvedGuard, RpcEngine } from './options.ts'
import { endOf, type Refusal, refusalOf, refused, unstorable } from './refusal.ts'

export type { IdempotencyContext } from '../engine/guarded-run.ts'

export interface GuardedCall {
  /** Path of the procedure or name of the field. */
  readonly operation: string
  /** What the user's function returns. */
  readonly key: () => unknown
  /** Asked only where there is a key. */
  readonly principal: () => unknown
  /** What makes two calls the same. */
  readonly input: () => unknown
}

export type Instead =
  | { readonly kind: 'replay'; readonly value: unknown }
  | { readonly kind: 'refused'; readonly refusal: Refusal }

export type Opened = { readonly kind: 'pass' } | { readonly kind: 'run'; readonly run: GuardedRun } | Instead

/** How a handler ended. */
export type HandlerEnd =
  /** `status` is the one of HTTP that says the same: it decides what the answer leaves behind. */
  | { readonly kind: 'answered'; readonly status: number; readonly value: unknown }
  /** It never started. */
  | { readonly kind: 'not-run' }
  /** It took effect, and there is no answer that could be kept. */
  | { readonly kind: 'unanswered'; readonly reason: string }

export interface CallGuard {
  /** Rejects only with what the user's functions throw. */
  open(call: GuardedCall): Promise<Opened>
  /** Settles what the handler left. `undefined`: send its answer as it is. */
  settle(run: GuardedRun, end: HandlerEnd): Promise<Instead | undefined>
}

const operationCharactersMax = 255

/** `protocol` keeps the records of one framework apart from those of another, whose values have another form. */
export function createCallGuard(engine: RpcEngine, protocol: string, options: ResolvedGuard): CallGuard {
  async function begin(call: GuardedCall, key: string): Promise<Opened> {
    const principal = await call.principal()
    if (principal === undefined || principal === null) {
      return refused({ error: new InvalidPrincipalError('is missing'), status: 401 })
    }
    const made = valueFingerprint(engine.digest, call.operation, await call.input())
    if (made.kind === 'unsupported') throw new UnsupportedInputError(made.path)
    const begun = await engine.begin({
      key,
      principal: checkPrincipal(principal),
      scope: options.scope === 'operation' ? `${protocol} ${call.operation}` : protocol,
      operation: nameOf(call),
      fingerprint: made.fingerprint,
      policy: options.policy,
    })
    return begun.kind === 'run' ? { kind: 'run', run: new GuardedRun(key, begun.attempt) } : endOf(begun)
  }

  return {
    async open(call): Promise<Opened> {
      try {
        const key = await call.key()
        if (key === undefined || key === null) {
          if (options.required) throw new MissingKeyError()
          return { kind: 'pass' }
        }
        const parsed = checkKey(key, options.keyLimits)
        if (parsed.kind === 'malformed') throw new MalformedKeyError(parsed.rule)
        return await begin(call, parsed.key)
      } catch (error) {
        if (isIdempotencyError(error, 'store-unavailable') && options.onStoreError === 'run') {
          report('unprotected', () => ({ operation: nameOf(call) }))
          return { kind: 'pass' }
        }
        return refused(refusalOf(error))
      }
    },

    async settle({ attempt, verdict }, end): Promise<Instead | undefined> {
      if (end.kind === 'not-run') return await settled(() => attempt.release())
      if (end.kind === 'unanswered') {
        await settled(() => attempt.complete({ kind: 'unstorable', reason: end.reason }))
        return undefined
      }
      const { status, value } = end
      return await settled(() => {
        switch (verdict ?? options.result(status)) {
          case 'keep':
            return attempt.complete({ kind: 'value', value })
          case 'release':
            return attempt.release()
          default:
            return attempt.unknown()
        }
      })
    },
  }
}

function nameOf({ operation }: GuardedCall): string {
  return operation.slice(0, operationCharactersMax).toWellFormed()
}

async function settled(send: () => Promise<Settled>): Promise<Instead | undefined> {
  try {
    const end = await send()
    if (end.kind === 'lost') return endOf(end.instead)
    return end.outcome?.kind === 'unstorable' ? refused(unstorable(end.outcome.reason)) : undefined
  } catch (error) {
    return refused(refusalOf(error))
  }
}
