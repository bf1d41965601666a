/** Flags of commands, read strictly. */
import { parseArgs } from 'node:util'
import type { BooleanArgDef, StringArgDef } from 'citty'
import { suggestion } from '../gateway/text.ts'
import { usageError } from './failure.ts'

export type TextFlag = StringArgDef & { readonly type: 'string' }
export type SwitchFlag = BooleanArgDef & { readonly type: 'boolean' }

type Flags<Known> = { [Name in keyof Known]?: Known[Name] extends TextFlag ? string : true }

/** Reads flags strictly: none unknown, none without a value, no stray words. @throws CommandError */
export function readFlags<Known extends Readonly<Record<string, TextFlag | SwitchFlag>>>(
  rawArgs: readonly string[],
  known: Known,
): Flags<Known> {
  return readWordsAndFlags(rawArgs, known, { wordsMax: 0 }).flags
}

/**
 * Reads flags as `readFlags` does, and up to `wordsMax` words beside them. Of the flags that `repeated` names, every
 * value is in `lists`, and the last one in `flags`.
 */
export function readWordsAndFlags<Known extends Readonly<Record<string, TextFlag | SwitchFlag>>>(
  rawArgs: readonly string[],
  known: Known,
  { wordsMax, repeated = [] }: { readonly wordsMax: number; readonly repeated?: readonly (keyof Known)[] },
): {
  readonly words: readonly string[]
  readonly flags: Flags<Known>
  readonly lists: ReadonlyMap<keyof Known, readonly string[]>
} {
  const options = Object.fromEntries(Object.entries(known).map(([name, { type }]) => [name, { type }]))
  const { tokens } = parseArgs({
    args: [...rawArgs],
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  })
  const flags: Record<string, string | true> = {}
  const words: string[] = []
  const lists = new Map<keyof Known, string[]>()
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue
    if (token.kind === 'positional') {
      if (words.length < wordsMax) {
        words.push(token.value)
        continue
      }
      const expected =
        wordsMax === 0 ? 'no words are' : wordsMax === 1 ? 'one word is' : `${wordsMax} words are`
      throw usageError(`${token.value} is no flag, and ${expected} expected here.`)
    }
    if (!Object.hasOwn(options, token.name)) {
      throw usageError(
        `${token.rawName} is not known${suggestion(
          token.rawName,
          Object.keys(options).map((name) => `--${name}`),
        )}`,
      )
    }
    const isSwitch = options[token.name]?.type === 'boolean'
    if (isSwitch && token.value !== undefined) throw usageError(`${token.rawName} takes no value.`)
    if (!isSwitch && (token.value === undefined || token.value === ''))
      throw usageError(`${token.rawName} needs a value.`)
    const isRepeated = repeated.includes(token.name)
    if (Object.hasOwn(flags, token.name) && !isRepeated) throw usageError(`${token.rawName} is given twice.`)
    flags[token.name] = token.value ?? true
    if (isRepeated) lists.set(token.name, [...(lists.get(token.name) ?? []), String(token.value)])
  }
  return { words, flags: flags as Flags<Known>, lists }
}
