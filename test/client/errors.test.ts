import { describe, expect, test } from 'vitest'
import {
  ClientError,
  clientErrorCodes,
  HorizonError,
  isClientError,
  KeyRefusedError,
  NotAppliedError,
  UnknownOutcomeError,
} from '../../src/client/index.ts'
import type { StoppedCall } from '../../src/client/errors.ts'

const cause = new Error('socket hang up')
const call: StoppedCall = {
  reason: 'retries',
  key: 'k-1',
  attempts: 5,
  response: 'an answer',
  serverCode: 'key-reused',
  retryAt: 1_000,
  cause,
}
const classes = { UnknownOutcomeError, HorizonError, NotAppliedError, KeyRefusedError }

test.each(Object.entries(classes))('%s tells its call, but not its key', (name, Class) => {
  const error = new Class(call)
  expect(error).toBeInstanceOf(ClientError)
  expect(error).toMatchObject({ name, ...call })
  expect(error.message).toMatch(/\(retries, 5 sent\)$/)
  expect(error.message).not.toContain('k-1')
  expect(isClientError(error)).toBe(true)
})

test('each code is the code of a class', () => {
  const codes = Object.values(classes).map((Class) => new Class(call).code)
  expect(new Set(codes)).toEqual(new Set(clientErrorCodes))
})

test('an outcome that the horizon hides is an unknown one', () => {
  expect(new HorizonError(call)).toBeInstanceOf(UnknownOutcomeError)
})

describe('isClientError', () => {
  test('sees an error of another copy of the package', () => {
    const foreign = Object.assign(new Error('elsewhere'), {
      code: 'not-applied',
      [Symbol.for('retrysafe.client-error')]: true,
    })
    expect(isClientError(foreign)).toBe(true)
    expect(isClientError(foreign, 'not-applied')).toBe(true)
    expect(isClientError(foreign, 'outcome-unknown')).toBe(false)
  })

  test.each([undefined, null, 'not-applied', 1, {}, new Error('x'), { code: 'not-applied' }])(
    'is not fooled by %o',
    (value) => {
      expect(isClientError(value)).toBe(false)
    },
  )
})
