/** `retrysafe openapi lint` and `retrysafe openapi patch`. */
import { readFileSync, writeFileSync } from 'node:fs'
import type { Duration } from '../core/duration.ts'
import { isIdempotencyError } from '../core/errors.ts'
import { printable } from '../gateway/text.ts'
import { isSame, type JsonObject } from '../openapi/json.ts'
import { type LintFinding, lintDocument } from '../openapi/lint.ts'
import { operationsOf } from '../openapi/operations.ts'
import { type PatchOptions, patchDocument } from '../openapi/patch.ts'
import { CommandError, exitCodes, failure, usageError } from './failure.ts'
import { readWordsAndFlags, type SwitchFlag, type TextFlag } from './flags.ts'
import { editedText } from './openapi/edit.ts'
import { readSource, type Source } from './openapi/source.ts'

const headerFlag: TextFlag = {
  type: 'string',
  description: 'Field that carries the key (Idempotency-Key)',
  valueHint: 'name',
}

export const lintFlags: { readonly header: TextFlag; readonly json: SwitchFlag } = {
  header: headerFlag,
  json: { type: 'boolean', description: 'Print the findings as JSON' },
}

type PatchTextFlag =
  | 'out'
  | 'operation'
  | 'retention'
  | 'tombstone'
  | 'scope'
  | 'header'
  | 'key-length-max'
  | 'marker'

export const patchFlags: Readonly<Record<PatchTextFlag, TextFlag>> &
  Readonly<Record<'write' | 'required', SwitchFlag>> = {
  out: { type: 'string', description: 'File to write to (standard output)', valueHint: 'file' },
  write: { type: 'boolean', description: 'Write to the file that was read' },
  operation: {
    type: 'string',
    description: "Such as 'POST /charges'; may be given again (every POST and PATCH)",
    valueHint: 'operation',
  },
  required: { type: 'boolean', description: 'Requests without a key are refused' },
  retention: { type: 'string', description: 'How long answers are kept (24h)', valueHint: 'duration' },
  tombstone: {
    type: 'string',
    description: 'How long after that keys are refused (0)',
    valueHint: 'duration',
  },
  scope: { type: 'string', description: 'principal or endpoint (principal)', valueHint: 'name' },
  header: headerFlag,
  'key-length-max': { type: 'string', description: 'Characters of a key (255)', valueHint: 'number' },
  marker: {
    type: 'string',
    description: 'Field that marks a replay, or none (Idempotent-Replayed)',
    valueHint: 'name',
  },
}

/** There is nothing to run without one of the two. @throws CommandError */
export function runOpenapi(): never {
  throw usageError('Say what to do: retrysafe openapi lint <file or URL>, or retrysafe openapi patch <file>.')
}

const documentBytesMax = 32 * 1024 * 1024
const fetchMsMax = 30_000

/** Prints what a document says wrongly; exit code 1 where there are errors. @throws CommandError */
export async function runOpenapiLint(rawArgs: readonly string[]): Promise<void> {
  const { words, flags } = readWordsAndFlags(rawArgs, lintFlags, { wordsMax: 1 })
  const name = fileOf(words)
  const source = readSource(name, await textOf(name))
  const options = flags.header === undefined ? {} : { header: flags.header }
  const findings = asUsage(name, () => lintDocument(source.value, options)).map((finding) => ({
    ...finding,
    line: source.lineOf(finding.at),
  }))
  findings.sort((one, other) => one.line - other.line)
  const errors = findings.filter(({ level }) => level === 'error').length
  if (flags.json === true)
    process.stdout.write(
      `${JSON.stringify(
        findings.map((one) => asJson(name, one)),
        null,
        2,
      )}\n`,
    )
  else
    process.stdout.write(
      findings.length === 0 ? `${printable(name)}: nothing to mend.\n` : shown(name, findings),
    )
  if (errors > 0) process.exitCode = exitCodes.failure
}

type PlacedFinding = LintFinding & { readonly line: number }

function asJson(file: string, { at, ...finding }: PlacedFinding): object {
  const pointer = at.map((name) => `/${String(name).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')
  return { file, ...finding, pointer }
}

function shown(name: string, findings: readonly PlacedFinding[]): string {
  const lines = findings.map(({ line, level, code, method, path, message, fix }) => {
    const subject = path === undefined ? '' : `${method === undefined ? '' : `${method} `}${path}: `
    return printable(`${name}:${line}: ${level} ${code}: ${subject}${message} ${fix}`)
  })
  const errors = findings.filter(({ level }) => level === 'error').length
  const notes = findings.length - errors
  return `${lines.join('\n')}\n\n${counted(errors, 'error')}, ${counted(notes, 'note')}.\n`
}

function counted(amount: number, word: string): string {
  return `${amount} ${word}${amount === 1 ? '' : 's'}`
}

/** Completes a document and says on standard error what changed. @throws CommandError */
export function runOpenapiPatch(rawArgs: readonly string[]): void {
  const { words, flags, lists } = readWordsAndFlags(rawArgs, patchFlags, {
    wordsMax: 1,
    repeated: ['operation'],
  })
  const name = fileOf(words)
  if (flags.out !== undefined && flags.write === true)
    throw usageError('--out and --write exclude each other.')
  if (flags.write === true && name === '-') throw usageError('--write needs a file.')
  const keyLengthMax = flags['key-length-max']
  const options: PatchOptions = {
    ...(lists.has('operation') ? { operations: lists.get('operation') ?? [] } : {}),
    ...(flags.required === true ? { required: true } : {}),
    ...(flags.retention === undefined ? {} : { retention: durationOf(flags.retention) }),
    ...(flags.tombstone === undefined ? {} : { tombstone: durationOf(flags.tombstone) }),
    ...(flags.scope === undefined ? {} : { scope: flags.scope as 'principal' | 'endpoint' }),
    ...(flags.header === undefined ? {} : { header: flags.header }),
    ...(keyLengthMax === undefined ? {} : { keyLengthMax: Number(keyLengthMax) }),
    ...(flags.marker === undefined ? {} : { marker: flags.marker === 'none' ? false : flags.marker }),
  }
  const source = readSource(name, textOfFile(name))
  const patched = asUsage(name, () => patchDocument(source.value, options))
  const text = editedText(source, patched)
  const target = flags.write === true ? name : flags.out
  if (target === undefined) process.stdout.write(text)
  else writeText(target, text)
  process.stderr.write(`${printable(changesOf(source, patched))}\n`)
}

/** `0` is a duration without a unit. */
function durationOf(text: string): Duration {
  return /^\d+$/.test(text) ? Number(text) : (text as Duration)
}

function changesOf(source: Source, patched: object): string {
  const before = new Map(
    operationsOf(source.value as JsonObject).operations.map((one) => [nameOf(one), one.operation]),
  )
  const changed = operationsOf(patched as JsonObject).operations.filter(
    (one) => !isSame(before.get(nameOf(one)), one.operation),
  )
  if (changed.length === 0) return 'Nothing to add.'
  return `${counted(changed.length, 'operation')} changed: ${changed.map(nameOf).join(', ')}.`
}

function nameOf({ method, path }: { readonly method: string; readonly path: string }): string {
  return `${method} ${path}`
}

function fileOf(words: readonly string[]): string {
  const [file] = words
  if (file === undefined) throw usageError('Name the OpenAPI document: a file, or - for standard input.')
  return file
}

function textOfFile(name: string): string {
  try {
    return readFileSync(name === '-' ? 0 : name, 'utf8')
  } catch (error) {
    throw usageError(`${name} cannot be read: ${(error as Error).message}`)
  }
}

async function textOf(name: string): Promise<string> {
  if (!/^https?:\/\//i.test(name)) return textOfFile(name)
  try {
    const response = await fetch(name, { signal: AbortSignal.timeout(fetchMsMax) })
    if (!response.ok) throw new Error(`the server answered ${response.status}`)
    let text = ''
    const decoder = new TextDecoder()
    for await (const piece of response.body ?? []) {
      text += decoder.decode(piece as Uint8Array, { stream: true })
      if (text.length > documentBytesMax) throw new Error(`it is larger than ${documentBytesMax} bytes`)
    }
    return text + decoder.decode()
  } catch (error) {
    throw failure(`${name} cannot be read: ${(error as Error).message}`)
  }
}

function writeText(file: string, text: string): void {
  try {
    writeFileSync(file, text)
  } catch (error) {
    throw failure(`${file} cannot be written: ${(error as Error).message}`)
  }
}

function asUsage<Value>(name: string, make: () => Value): Value {
  try {
    return make()
  } catch (error) {
    if (error instanceof CommandError || !isIdempotencyError(error, 'option-invalid')) throw error
    throw usageError(`${name}: ${error.message}`)
  }
}
