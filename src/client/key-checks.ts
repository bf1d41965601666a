/**
 * A second look at keys while a program is developed: whether they say who somebody is, and whether they tell two
 * operations apart. A help, not a wall: names of people and most ids of states look like any other text.
 */
import { InvalidOptionError } from '../core/errors.ts'

const kinds: readonly { readonly kind: string; has(part: string): boolean }[] = [
  { kind: 'an e-mail address', has: (part) => /[^\s@]@[^\s@]+\.\p{L}{2,}/u.test(part) },
  { kind: 'a phone number', has: (part) => /^\+\d(?:[\s().-]*\d){7,14}$/.test(part.trim()) },
  { kind: 'a card number', has: (part) => isCardNumber(part.replaceAll(/[\s-]/g, '')) },
  { kind: 'an account number (IBAN)', has: (part) => isIban(part.replaceAll(/\s/g, '').toUpperCase()) },
]

const warned = new Set<string>()
const warnedMax = 100

/** @throws InvalidOptionError for personal data, in development alone */
export function checkInDevelopment(
  option: string,
  parts: readonly (string | number | bigint)[],
  key: string,
): void {
  if (isProduction()) return
  for (const [at, part] of parts.entries()) {
    const found = kinds.find(({ has }) => has(`${part}`))
    if (found === undefined) continue
    const rule = `must not be ${found.kind}: keys are logged and stored. Give an id, or use secretKeyFor()`
    throw new InvalidOptionError(`${option} part ${at + 1}`, rule)
  }
  // A digit is most of an id; so is a word that nobody would write.
  const tells = parts.some(
    (part) => typeof part !== 'string' || /\d/.test(part) || part.length >= idLengthMin,
  )
  if (tells || warned.has(key) || warned.size >= warnedMax) return
  warned.add(key)
  // Where it was made is told, not what it is.
  const warning = new Error('Retrysafe: a key has no id in it, so all that uses it is one operation.')
  // oxlint-disable-next-line no-console -- The only way to a developer that browsers and Node share.
  console.warn(warning)
}

const idLengthMin = 16

/** Bundlers put the value in; a browser that has none is not where anybody develops. */
function isProduction(): boolean {
  try {
    return process.env.NODE_ENV === 'production'
  } catch {
    return true
  }
}

/** The ranges and lengths that the large networks use: other numbers pass the check digit one time in ten. */
const cardRanges = [
  /^4\d{15}$/,
  /^5[1-5]\d{14}$/,
  /^2(22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}$/,
  /^3[47]\d{13}$/,
  /^6(011|5\d\d)\d{12}$/,
  /^35\d{14}$/,
  /^3[068]\d{12}$/,
]

function isCardNumber(digits: string): boolean {
  if (!cardRanges.some((range) => range.test(digits))) return false
  const sum = [...digits].reverse().reduce((total, digit, at) => {
    const doubled = Number(digit) * (at % 2 === 1 ? 2 : 1)
    return total + (doubled > 9 ? doubled - 9 : doubled)
  }, 0)
  return sum % 10 === 0
}

/** ISO 13616: the remainder by 97 of the number that its letters and digits make. */
function isIban(text: string): boolean {
  if (!/^[A-Z]{2}\d{2}[A-Z0-9]{11,30}$/.test(text)) return false
  const digits = (text.slice(4) + text.slice(0, 4)).replaceAll(
    /[A-Z]/g,
    (letter) => `${Number.parseInt(letter, 36)}`,
  )
  return BigInt(digits) % 97n === 1n
}
