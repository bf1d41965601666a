/** Checks of options: each error names the option, the rule and the value, and an unknown name the one meant. */
import { InvalidOptionError } from './errors.ts'

/**
 * Refuses options that are not known, with the nearest known name.
 *
 * @throws InvalidOptionError
 */
export function refuseUnknownOptions(where: string, options: object, known: readonly string[]): void {
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue
    const near = known.find((candidate) => isNear(name.toLowerCase(), candidate.toLowerCase()))
    const hint = near === undefined ? `. Known: ${known.join(', ')}` : `. Did you mean ${near}?`
    throw new InvalidOptionError(`${where}.${name}`, `is not known${hint}`)
  }
}

/** Within one edit, or one a prefix of the other: enough for a typing error, and linear. */
function isNear(given: string, candidate: string): boolean {
  if (given.length >= 3 && (candidate.startsWith(given) || given.startsWith(candidate))) return true
  if (Math.abs(given.length - candidate.length) > 1) return false
  let start = 0
  while (start < given.length && given[start] === candidate[start]) start++
  let end = 0
  while (
    end < Math.min(given.length, candidate.length) - start &&
    given[given.length - 1 - end] === candidate[candidate.length - 1 - end]
  ) {
    end++
  }
  const rest = Math.max(given.length, candidate.length) - start - end
  if (rest <= 1) return true
  const swapped = given.slice(start, given.length - end)
  return rest === 2 && swapped === [...candidate.slice(start, candidate.length - end)].reverse().join('')
}

/** @throws InvalidOptionError when the value is none of the words */
export function choiceOption<Word extends string>(
  name: string,
  value: Word | undefined,
  words: readonly Word[],
): Word | undefined {
  if (value === undefined || words.includes(value)) return value
  throw new InvalidOptionError(name, `must be ${words.map((word) => `'${word}'`).join(' or ')}`, value)
}

/** @throws InvalidOptionError when the value is no boolean */
export function flagOption(name: string, value: boolean | undefined): boolean | undefined {
  if (value === undefined || typeof value === 'boolean') return value
  throw new InvalidOptionError(name, 'must be true or false', value)
}

/** @throws InvalidOptionError when the value is no whole number within the limits, which both count */
export function wholeOption(
  name: string,
  value: number | undefined,
  min: number,
  max: number,
): number | undefined {
  if (value === undefined || (Number.isInteger(value) && value >= min && value <= max)) return value
  throw new InvalidOptionError(name, `must be a whole number from ${min} to ${max}`, value)
}
