/** What stands before the ids of records in the keys of a server. */
import { InvalidOptionError } from '../../core/errors.ts'

/** Nothing that a pattern of SCAN, or a cluster's choice of a slot, takes for more than a character. */
const form = /^[\w:.-]{1,64}$/

/** @throws InvalidOptionError */
export function readPrefix(prefix: unknown): string {
  if (typeof prefix === 'string' && form.test(prefix)) return prefix
  throw new InvalidOptionError('prefix', 'must be 1 to 64 letters, digits, _, :, . and -', prefix)
}
