/** The text of statements on one row: names that were checked, and a place for each value. */
import { InvalidOptionError } from '../core/errors.ts'
import type { SqlDialect, SqlExecutor } from '../core/sql.ts'
import { readTableName } from '../core/table-name.ts'

/** What a column may be given. Other objects are refused: client libraries take some of them for SQL. */
export type ColumnValue = string | number | bigint | boolean | null | Uint8Array | Date

/** Columns by their names. */
export type ColumnValues = Readonly<Record<string, ColumnValue>>

/** A row as the client library gives it. */
export type Row = Readonly<Record<string, unknown>>

/** The column beside the row's own that says which values differ: one `0` or `1` for each. */
export const differsColumn = 'retrysafe_differs'

const columnName = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/

/** Columns that were checked, in a fixed order. */
export interface Columns {
  readonly names: readonly string[]
  readonly values: readonly ColumnValue[]
}

/**
 * @param least how many columns there must be
 * @throws InvalidOptionError naming the column, never its value
 */
export function readColumns(option: string, given: unknown, dialect: SqlDialect, least: number): Columns {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new InvalidOptionError(option, 'must be an object of columns and their values')
  }
  const names = Object.keys(given)
  if (names.length < least) throw new InvalidOptionError(option, 'must name at least one column')
  for (const name of names) {
    if (!columnName.test(name)) {
      throw new InvalidOptionError(
        option,
        'must name columns of letters, digits and _, at most 63 long',
        name,
      )
    }
  }
  return { names, values: names.map((name) => readValue(`${option}.${name}`, (given as Row)[name], dialect)) }
}

function readValue(option: string, value: unknown, dialect: SqlDialect): ColumnValue {
  switch (typeof value) {
    case 'string':
      if (!value.isWellFormed()) throw new InvalidOptionError(option, 'must be well-formed text')
      return value
    case 'number':
      if (!Number.isFinite(value)) throw new InvalidOptionError(option, 'must be a finite number')
      return value
    case 'bigint':
    case 'boolean':
      return value
    default:
      if (value === null || value instanceof Uint8Array) return value
      if (value instanceof Date && dialect !== 'sqlite' && !Number.isNaN(value.getTime())) return value
      throw new InvalidOptionError(
        option,
        `must be a string, a finite number, a bigint, a boolean, null, a Uint8Array${dialect === 'sqlite' ? '' : ' or a valid Date'}`,
      )
  }
}

/** @throws InvalidOptionError when `db` is none */
export function checkExecutor(db: SqlExecutor): void {
  if (typeof db?.query !== 'function' || !['postgres', 'mysql', 'sqlite'].includes(db.dialect)) {
    throw new InvalidOptionError('db', 'must be an executor, such as pgExecutor(pool) or fromDrizzle(tx)')
  }
}

/** Writes one statement: names are quoted, values are bound in the order in which they are asked for. */
export class Writer {
  readonly values: ColumnValue[] = []
  readonly table: string
  readonly #dialect: SqlDialect

  constructor(dialect: SqlDialect, table: unknown) {
    this.#dialect = dialect
    const { schema, table: name } = readTableName('table', table)
    this.table = schema === undefined ? this.name(name) : `${this.name(schema)}.${this.name(name)}`
  }

  name(name: string): string {
    return this.#dialect === 'mysql' ? `\`${name}\`` : `"${name}"`
  }

  names(columns: readonly string[]): string {
    return columns.map((column) => this.name(column)).join(', ')
  }

  bind(value: ColumnValue): string {
    this.values.push(value)
    return this.#dialect === 'postgres' ? `$${this.values.length}` : '?'
  }

  /** Each column has its value. */
  matches({ names, values }: Columns): string {
    return names
      .map((name, at) => `${this.name(name)} = ${this.bind(values[at] as ColumnValue)}`)
      .join(' AND ')
  }

  /**
   * One `0` or `1` for each column: whether its value is another one. The database compares, so that a number
   * that the client library gives as text, or a date, is no difference. NULL is equal to NULL.
   */
  differences({ names, values }: Columns): string {
    const equal = { postgres: 'IS NOT DISTINCT FROM', mysql: '<=>', sqlite: 'IS' }[this.#dialect]
    const bits = names.map(
      (name, at) =>
        `CASE WHEN ${this.name(name)} ${equal} ${this.bind(values[at] as ColumnValue)} THEN '0' ELSE '1' END`,
    )
    if (bits.length === 0) return "''"
    return this.#dialect === 'mysql' ? `CONCAT(${bits.join(', ')})` : bits.join(' || ')
  }
}

/** A row that was read with `differences`, and the columns that differ. */
export interface Compared {
  readonly row: Row
  readonly differs: readonly string[]
}

/**
 * Reads the row of a key and compares it. On MySQL and MariaDB the row is read as it is now, which inside a
 * transaction is not what a plain SELECT shows.
 */
export async function readCompared(
  db: SqlExecutor,
  table: unknown,
  key: Columns,
  compared: Columns,
): Promise<Compared | undefined> {
  const writer = new Writer(db.dialect, table)
  const differences = writer.differences(compared)
  const current = db.dialect === 'mysql' ? ' LOCK IN SHARE MODE' : ''
  const text = `SELECT ${writer.table}.*, ${differences} AS ${writer.name(differsColumn)} FROM ${writer.table} WHERE ${writer.matches(key)}${current}`
  const { rows } = await db.query(text, writer.values)
  const [found] = rows
  if (found === undefined) return undefined
  const { [differsColumn]: bits, ...row } = found
  return { row, differs: compared.names.filter((_, at) => String(bits)[at] === '1') }
}
