/** The arguments that operations are made from, checked once, at construction. */
import { InvalidOptionError } from '../core/errors.ts'
import { refuseUnknownOptions } from '../core/options.ts'
import type { OperationOptions } from './operation.ts'
import { policyOptionNames } from './policy.ts'

const operationOptionNames = ['onError', 'fingerprint', 'reconcile', ...policyOptionNames]
const statementOptionNames = ['fingerprint', ...policyOptionNames]
const operationNameMax = 255

/** What `operation` and `transaction` take after the name. */
export type OperationArguments<Input, Output, Run> =
  | [handler: (input: Input, run: Run) => Promise<Output> | Output]
  | [options: OperationOptions<Input, Output>, handler: (input: Input, run: Run) => Promise<Output> | Output]

/** Options and handler, checked. @throws InvalidOptionError */
export function readArguments<Input, Output, Run>(
  name: string,
  given: OperationArguments<Input, Output, Run>,
): [OperationOptions<Input, Output>, (input: Input, run: Run) => Promise<Output> | Output] {
  checkName('operation', name)
  const [options, handler] = given.length === 1 ? [{}, given[0]] : given
  if (typeof handler !== 'function') throw new InvalidOptionError('handler', 'must be a function', handler)
  refuseUnknownOptions(`operation '${name}'`, options, operationOptionNames)
  if (options.onUnknown === 'reconcile' && options.reconcile === undefined) {
    throw new InvalidOptionError('reconcile', "is required by onUnknown: 'reconcile'")
  }
  return [options, handler]
}

/** The rule for names of operations. @throws InvalidOptionError */
export function checkName(option: string, name: unknown): void {
  const rule = `must be a string of 1 to ${operationNameMax} characters`
  if (
    typeof name !== 'string' ||
    name.trim() === '' ||
    name.length > operationNameMax ||
    !name.isWellFormed()
  ) {
    throw new InvalidOptionError(option, rule, name)
  }
}

/** The rules for the arguments of `statement`. @throws InvalidOptionError */
export function checkStatement(name: string, text: unknown, values: unknown, options: object): void {
  checkName('operation', name)
  if (typeof text !== 'string' || text.trim() === '') {
    throw new InvalidOptionError('text', 'must be one SQL statement', text)
  }
  if (typeof values !== 'function') throw new InvalidOptionError('values', 'must be a function', values)
  refuseUnknownOptions(`statement '${name}'`, options, statementOptionNames)
}

const depthMax = 8

/**
 * The values of a statement: what client libraries write as a value and never as something else. They take
 * `undefined` for NULL, functions for text, and what an object's own `toPostgres` gives.
 *
 * @throws InvalidOptionError naming the place, never the value
 */
export function checkValues(values: unknown): readonly unknown[] {
  if (!Array.isArray(values)) throw new InvalidOptionError('values', 'must return an array')
  for (const [at, value] of values.entries()) {
    if (isBindable(value, 0)) continue
    const allowed = 'text, finite numbers, bigints, booleans, null, Dates, octets, and plain JSON of those'
    throw new InvalidOptionError('values', `must hold ${allowed}; the one at ${at} is none`)
  }
  return values
}

function isBindable(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case 'string':
      return value.isWellFormed()
    case 'bigint':
    case 'boolean':
      return true
    case 'number':
      return Number.isFinite(value)
    case 'object': {
      if (value === null || value instanceof Uint8Array) return true
      if (value instanceof Date) return !Number.isNaN(value.getTime())
      const isPlain = [Object.prototype, null, Array.prototype].includes(Object.getPrototypeOf(value))
      if (!isPlain || depth === depthMax || 'toPostgres' in value) return false
      return Object.values(value).every((member) => isBindable(member, depth + 1))
    }
    default:
      return false
  }
}
