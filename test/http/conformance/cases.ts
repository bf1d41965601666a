import { readFileSync } from 'node:fs'
import { parse } from 'yaml'
import type { StatusVariable, TargetVariables, Tier } from './target.ts'

/** One or several statuses; a word with `$` reads the target's variables. */
export type StatusExpectation = number | string | readonly (number | string)[]

/** What the answer of one step must be; every member is explained at the head of `cases.yaml`. */
export interface Expectation {
  readonly st?: StatusExpectation
  readonly same?: number
  readonly differs?: number
  readonly one_id?: boolean
  readonly body_differs?: number
  readonly has?: Readonly<Record<string, string>>
  readonly not?: readonly string[]
  readonly replay?: boolean
  readonly problem?: string
  readonly lacks?: number
  readonly within?: number
  readonly ttfb?: number
  readonly whole_or_empty?: number
}

/** One request (or `par` copies of it), or one action of the harness when `ctl` is set. */
export interface Step {
  readonly k?: string
  readonly kraw?: string
  readonly klines?: readonly string[]
  readonly b?: string
  readonly raw?: string
  readonly ct?: string
  readonly parts?: readonly (readonly [name: string, filename: string, content: string])[]
  readonly bnd?: string
  readonly m?: string
  readonly p?: string
  readonly h?: Readonly<Record<string, string>>
  /** Principal; `null` sends no Authorization field. */
  readonly auth?: string | null
  readonly inst?: number
  readonly http?: number
  readonly do?: string
  readonly par?: number
  readonly at?: number
  readonly abort?: number
  readonly half?: boolean
  readonly hold?: boolean
  readonly ctl?: string
  readonly ms?: number
  readonly x?: Expectation
}

/** One conformance case. */
export interface ConformanceCase {
  readonly id: string
  readonly tier: Tier
  /** Title. */
  readonly t: string
  readonly needs?: readonly string[]
  /** Handler effects over the whole case; a list means any of these. */
  readonly fx: number | readonly number[]
  readonly s: readonly Step[]
}

/** The parsed `cases.yaml`. */
export interface ConformanceFile {
  readonly vars: TargetVariables
  readonly bodies: Readonly<Record<string, string>>
  readonly cases: readonly ConformanceCase[]
}

const caseMembers = new Set(['id', 'tier', 't', 'needs', 'fx', 's'])
const stepMembers = new Set(
  'k kraw klines b raw ct parts bnd m p h auth inst http do par at abort half hold ctl ms x'.split(' '),
)
const expectationMembers = new Set(
  'st same differs one_id body_differs has not replay problem lacks within ttfb whole_or_empty'.split(' '),
)

function refuseUnknown(where: string, value: object, known: ReadonlySet<string>): void {
  for (const member of Object.keys(value)) {
    if (!known.has(member)) throw new TypeError(`${where}: member "${member}" is not part of the language`)
  }
}

/**
 * Parses the text of a case file. A member that this harness does not know throws a `TypeError`, because a
 * misspelt expectation would otherwise pass everywhere.
 */
export function parseCases(text: string): ConformanceFile {
  const file = parse(text) as ConformanceFile
  const ids = new Set<string>()
  for (const entry of file.cases) {
    refuseUnknown(entry.id, entry, caseMembers)
    if (ids.has(entry.id)) throw new TypeError(`${entry.id}: the id is used twice`)
    ids.add(entry.id)
    entry.s.forEach((step, index) => {
      const where = `${entry.id} step ${index + 1}`
      refuseUnknown(where, step, stepMembers)
      if (step.x !== undefined) refuseUnknown(where, step.x, expectationMembers)
      if (step.b !== undefined && file.bodies[step.b] === undefined) {
        throw new TypeError(`${where}: body "${step.b}" is not named in bodies`)
      }
    })
  }
  return file
}

let loaded: ConformanceFile | undefined

/** The case file of this folder, parsed once. */
export function loadFile(): ConformanceFile {
  loaded ??= parseCases(readFileSync(new URL('cases.yaml', import.meta.url), 'utf8'))
  return loaded
}

/** The cases of `cases.yaml`, in file order. */
export function loadCases(): readonly ConformanceCase[] {
  return loadFile().cases
}

function statusesOfVariable(value: StatusVariable): number[] {
  if (typeof value === 'number') return [value]
  return typeof value === 'string' ? value.split(',').map(Number) : [...value]
}

/** The statuses that pass, with `$name` read from `vars`. Throws a `TypeError` for a name that is no status. */
export function acceptedStatuses(expected: StatusExpectation, vars: TargetVariables): number[] {
  const list = typeof expected === 'object' ? expected : [expected]
  const statuses = list.flatMap((entry) => {
    if (typeof entry === 'number') return [entry]
    const value = vars[entry.slice(1) as keyof TargetVariables]
    if (!entry.startsWith('$') || value === undefined || value === null || typeof value === 'boolean') {
      throw new TypeError(`"${entry}" names no status variable`)
    }
    return statusesOfVariable(value)
  })
  return [...new Set(statuses)]
}
