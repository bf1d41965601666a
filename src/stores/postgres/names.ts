/**
 * Statements that a connection has planned before. Planning the store's statements takes longer than running
 * them. A transaction pooler may hand out a session that does not know a name, or knows it from somebody else:
 * the server refuses then, before anything has happened, and the store goes on without names.
 *
 * Names are digests of the text, so that one name never stands for two statements.
 */
import { createHash } from 'node:crypto'
import { serverError } from './errors.ts'

/** The name of a statement. */
export function statementName(text: string): string {
  return `retrysafe_${createHash('sha256').update(text).digest('base64url').slice(0, 22)}`
}

/** Whether the session did not know a name, or knew it already. */
export function isOfNames(error: unknown): boolean {
  const code = serverError(error)?.code
  return code === '26000' || code === '42P05'
}

/** The plan of a name is of an older version of the table. */
const cachedPlanChanged = '0A000'

/** Names the statements that commit by themselves. */
export function namedWherePossible<Rows>(
  run: (text: string, values: readonly unknown[], name?: string) => Promise<Rows>,
): (text: string, values: readonly unknown[]) => Promise<Rows> {
  const names = new Map<string, string>()
  let works = true
  const nameOf = (text: string): string => {
    const known = names.get(text)
    if (known !== undefined) return known
    const name = statementName(text)
    names.set(text, name)
    return name
  }
  return async (text, values) => {
    if (!works) return await run(text, values)
    try {
      return await run(text, values, nameOf(text))
    } catch (error) {
      if (isOfNames(error)) works = false
      else if (serverError(error)?.code !== cachedPlanChanged) throw error
      return await run(text, values)
    }
  }
}

/** What the stores have prepared on each connection; several may share a pool. */
const preparedOn = new WeakMap<object, Set<string>>()

/** Statements for scripts, which know no parameters: prepared once on each connection, by SQL. */
export class ScriptNames {
  readonly #named: readonly { readonly text: string; readonly name: string }[]
  #works = true

  constructor(texts: readonly string[]) {
    this.#named = texts.map((text) => ({ text, name: statementName(text) }))
  }

  /** Whether the statements may be used by name on this connection. */
  serve(connection: object | undefined): connection is object {
    return this.#works && connection !== undefined
  }

  /** The script that a connection has to run once before; `undefined` when it has. */
  preparation(connection: object): string | undefined {
    const known = preparedOn.get(connection)
    const missing = this.#named.filter(({ name }) => known?.has(name) !== true)
    if (missing.length === 0) return undefined
    return missing.map(({ name, text }) => `PREPARE "${name}" AS ${text}`).join(';')
  }

  /** The preparation was answered. */
  prepared(connection: object): void {
    const known = preparedOn.get(connection) ?? new Set()
    for (const { name } of this.#named) known.add(name)
    preparedOn.set(connection, known)
  }

  /** Runs a statement, with values that are written as literals. */
  execution(text: string, literals: readonly string[]): string {
    const name = this.#named.find((named) => named.text === text)?.name
    return `EXECUTE "${name}"(${literals.join(',')})`
  }

  /** No names from now on, where a pooler stands in between. */
  giveUp(): void {
    this.#works = false
  }
}
