/**
 * What the types say of options, said once more where the program runs: a misspelt name would be left out in silence.
 * `createIdempotentFetch` in browsers leaves it to the types, for its size.
 */
import { InvalidOptionError } from '../core/errors.ts'
import { refuseUnknownOptions } from '../core/options.ts'
import type { RetryBudgetOptions } from './budget.ts'
import type { KeyKeeper } from './keepers/keeper.ts'
import type { IdempotentFetchOptions } from './options.ts'

type OptionName = keyof IdempotentFetchOptions

/** All names, and what each is to be where nothing else reads it before the first call. */
const rules: Readonly<Record<OptionName, [keeps: (value: unknown) => boolean, rule: string] | undefined>> = {
  retries: undefined,
  backoff: undefined,
  backoffMax: undefined,
  timeout: undefined,
  deadline: undefined,
  lifetime: undefined,
  budget: [isObject, 'must be an object such as { ratio: 0.2, perSecond: 10 }'],
  breaker: [isBreaker, 'must be a circuitBreaker()'],
  onRetry: [isFunction, 'must be a function'],
  fetch: [isFunction, 'must be a function'],
  methods: [isListOfMethods, "must be a list of methods such as ['POST', 'PATCH']"],
  keyHeader: [isToken, 'must be the name of a field'],
  keyFormat: [isKeyFormat, "must be 'quoted' or 'bare'"],
  refresh: [isFunction, 'must be a function'],
}

const budgetRules: Readonly<Record<keyof RetryBudgetOptions, true>> = { ratio: true, perSecond: true }

/**
 * @param owner the function that takes them
 * @param options of `createIdempotentFetch`, or those of them that an adapter takes
 * @param refused names that the owner does not take
 * @throws InvalidOptionError
 */
export function checkOptions(
  owner: string,
  options: Readonly<Partial<Record<OptionName, unknown>>>,
  refused: readonly OptionName[] = [],
): void {
  const names = (Object.keys(rules) as OptionName[]).filter((name) => !refused.includes(name))
  refuseUnknownOptions(owner, options, names)
  for (const name of names) {
    const { [name]: value } = options
    const [keeps, rule] = rules[name] ?? []
    if (value === undefined || keeps === undefined || keeps(value)) continue
    throw new InvalidOptionError(name, rule as string, value)
  }
  if (options.budget) refuseUnknownOptions('budget', options.budget, Object.keys(budgetRules))
}

/** What keeps and sends calls. @throws InvalidOptionError */
export function checkSender({ fetch, keeper }: { readonly fetch: unknown; readonly keeper: unknown }): void {
  if (!isFunction(fetch))
    throw new InvalidOptionError('fetch', 'must be made by createIdempotentFetch', fetch)
  checkKeeper('keeper', keeper)
}

/** @throws InvalidOptionError */
export function checkKeeper(option: string, value: unknown): void {
  const { keep, find, share, settle, forget, withdraw, list } = (value ?? {}) as Partial<KeyKeeper>
  if ([keep, find, share, settle, forget, withdraw, list].every(isFunction)) return
  throw new InvalidOptionError(option, 'must be a keeper such as a memoryKeeper()', value)
}

function isFunction(value: unknown): boolean {
  return typeof value === 'function'
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null
}

function isBreaker(value: unknown): boolean {
  const { blockedMs, report } = (value ?? {}) as Record<string, unknown>
  return isFunction(blockedMs) && isFunction(report)
}

function isKeyFormat(value: unknown): boolean {
  return value === 'quoted' || value === 'bare'
}

function isListOfMethods(value: unknown): boolean {
  return Array.isArray(value) && value.every(isToken)
}

/** A token (RFC 9110, section 5.6.2). */
function isToken(value: unknown): boolean {
  return typeof value === 'string' && /^[\w!#$%&'*+.^`|~-]+$/.test(value)
}
