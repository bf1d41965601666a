/** Flags of commands, read strictly. */
import { parseArgs } from 'node:util'
import type { BooleanArgDef, StringArgDef } from 'citty'
import { suggestion } from '../gateway/text.ts'
import { usageError } from './failure.ts'

export type TextFlag = StringArgDef & { readonly type: 'string' }
export type SwitchFlag = BooleanArgDef & { readonly type: 'boolean' }

/** Reads flags strictly: none unknown, none without a value, no stray words. @throws CommandError */
export function readFlags<Known extends Readonly<Record<string, TextFlag | SwitchFlag>>>(
  rawArgs: readonly string[],
  known: Known,
): { [Name in keyof Known]?: Known[Name] extends TextFlag ? string : true } {
  const options = Object.fromEntries(Object.entries(known).map(([name, { type }]) => [name, { type }]))
  const { tokens } = parseArgs({
    args: [...rawArgs],
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  })
  const flags: Record<string, string | true> = {}
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue
    if (token.kind === 'positional')
      throw usageError(`${token.value} is no flag, and no words are expected here.`)
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
    if (Object.hasOwn(flags, token.name)) throw usageError(`${token.rawName} is given twice.`)
    flags[token.name] = token.value ?? true
  }
  return flags as { [Name in keyof Known]?: Known[Name] extends TextFlag ? string : true }
}
