/** Names of tables, checked before they get into a statement: the only text of the user's that does. */
import { InvalidOptionError } from './errors.ts'

export interface TableName {
  readonly schema: string | undefined
  readonly table: string
}

/** Short enough for the suffixes of index names, which Postgres cuts at 63 octets without a word. */
const name = /^[A-Za-z_][A-Za-z0-9_]{0,47}$/

/**
 * Reads `table` or `schema.table`.
 *
 * @throws InvalidOptionError
 * @example
 * readTableName('table', 'billing.retrysafe_records') // { schema: 'billing', table: 'retrysafe_records' }
 */
export function readTableName(option: string, given: unknown): TableName {
  const rule = 'must be `table` or `schema.table`, each of letters, digits and _ and at most 48 long'
  if (typeof given !== 'string') throw new InvalidOptionError(option, rule, given)
  const parts = given.split('.')
  if (parts.length > 2 || !parts.every((part) => name.test(part))) {
    throw new InvalidOptionError(option, rule, given)
  }
  const [first, second] = parts as [string, string | undefined]
  return second === undefined ? { schema: undefined, table: first } : { schema: first, table: second }
}
