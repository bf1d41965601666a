/** Where in an event the idempotency key stands. */
import { InvalidOptionError, MissingKeyError } from '../core/errors.ts'

/** A function of the event, or the path of a member such as `'detail.paymentId'`. */
export type KeySource<Event> = string | ((event: Event) => string | undefined)

const stepsMax = 16

/**
 * A reader of keys. It throws `MissingKeyError` where there is none: an event without a key never runs unprotected.
 *
 * @param option the option's name, for the message
 * @throws InvalidOptionError
 */
export function keyReader<Event>(option: string, source: KeySource<Event>): (event: Event) => string {
  if (typeof source === 'function') return (event) => present(source(event))
  const steps = typeof source === 'string' ? source.split('.') : []
  if (steps.length === 0 || steps.length > stepsMax || steps.includes('')) {
    const rule = `must be a function of the event, or a path of at most ${stepsMax} names such as 'detail.id'`
    throw new InvalidOptionError(option, rule, source)
  }
  return (event) => present(memberAt(event, steps))
}

/** The member at a path, through own members only. */
export function memberAt(value: unknown, steps: readonly string[]): unknown {
  let found = value
  for (const step of steps) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, step)) return undefined
    found = (found as Record<string, unknown>)[step]
  }
  return found
}

/** Ids are often whole numbers; nothing else is turned into text, since two values might then be one key. */
export function present(value: unknown): string {
  if (Number.isSafeInteger(value)) return String(value)
  if (value === undefined || value === null || value === '') throw new MissingKeyError()
  return value as string
}
