import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import * as errors from '../../src/core/errors.ts'

const { errorCodes, IdempotencyError, isIdempotencyError } = errors

/** Every exported class, made with arguments that fit. */
const made = [
  new errors.MissingKeyError(),
  new errors.MalformedKeyError('it is empty'),
  new errors.KeyReusedError(),
  new errors.KeyExpiredError(),
  new errors.InProgressError(1_000),
  new errors.OutcomeUnknownError(true),
  new errors.LeaseLostError(),
  new errors.RequestTooLargeError(10),
  new errors.InvalidPrincipalError('is empty'),
  new errors.InvalidOptionError('lease', 'must be positive', -1),
  new errors.UnsupportedInputError('input.callback'),
  new errors.UnstorableOutcomeError('it holds a function'),
  new errors.UnreadableOutcomeError('it is cut off'),
  new errors.RetryTransactionError('Busy.'),
  new errors.NotAppliedError(),
  new errors.SchemaMismatchError('Version 9.'),
  new errors.StoreUnavailableError(),
  new errors.StoreError('lost', 'No answer.'),
  new errors.ClosedError('store'),
  new errors.ReplayedError({ name: 'Declined', message: 'no funds' }),
]

describe('error classes', () => {
  test('one for each code, each under its own name', () => {
    expect(made.map((error) => error.code)).toEqual([...errorCodes])
    const classes = Object.values(errors).filter(
      (exported) => typeof exported === 'function' && exported.prototype instanceof IdempotencyError,
    )
    expect(new Set(made.map((error) => error.constructor))).toEqual(new Set(classes))
    for (const error of made) expect(error.name).toBe(error.constructor.name)
  })

  test('the documentation has one heading for each code, in the same order', () => {
    const page = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8')
    const headings = Array.from(page.matchAll(/^## (.+)$/gm), (match) => match[1])
    expect(headings).toEqual([...errorCodes])
  })

  test('the guard knows them by brand and code, and nothing else', () => {
    const error = new errors.InProgressError(1)
    expect(isIdempotencyError(error)).toBe(true)
    expect(isIdempotencyError(error, 'in-progress')).toBe(true)
    expect(isIdempotencyError(error, 'closed')).toBe(false)
    expect(isIdempotencyError({ [Symbol.for('retrysafe.error')]: true, code: 'closed' }, 'closed')).toBe(true)
    for (const value of [null, undefined, 'x', {}, new Error('in-progress')]) {
      expect(isIdempotencyError(value)).toBe(false)
    }
  })

  test('a long option value is cut in the message', () => {
    expect(
      new errors.InvalidOptionError('file', 'must exist', 'x'.repeat(10_000)).message.length,
    ).toBeLessThan(120)
  })
})
