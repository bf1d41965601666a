/** `retrysafe doctor`. */
import { readFileSync } from 'node:fs'
import { isIdempotencyError } from '../core/errors.ts'
import { type Examination, examine } from '../doctor/index.ts'
import type { Finding } from '../doctor/findings.ts'
import { type LateReplay, lateReplays } from '../doctor/replay-watch.ts'
import { exitCodes, usageError } from './failure.ts'
import { readFlags, type SwitchFlag, type TextFlag } from './flags.ts'
import { loadUserModule } from './user-module.ts'

export const doctorFlags: Readonly<Record<'app' | 'export' | 'exempt' | 'replays', TextFlag>> & {
  readonly json: SwitchFlag
} = {
  app: {
    type: 'string',
    description: 'Module that exports the app, without listening (Express, Fastify, Koa, Hono, Elysia, h3)',
    valueHint: 'file',
  },
  export: {
    type: 'string',
    description: 'Name of its export, an app or a function that makes one (app, or the default export)',
    valueHint: 'name',
  },
  exempt: {
    type: 'string',
    description: "Operations that need no key: 'POST /login,POST /logs/*'",
    valueHint: 'list',
  },
  replays: {
    type: 'string',
    description: 'Lines of JSON with operation, ageMs and leftMs, from the event `replayed`',
    valueHint: 'file',
  },
  json: { type: 'boolean', description: 'Print what was found as JSON' },
}

/** `retrysafe doctor`: exit code 1 where there is a problem. @throws CommandError */
export async function runDoctor(rawArgs: readonly string[]): Promise<void> {
  const flags = readFlags(rawArgs, doctorFlags)
  if (flags.app === undefined && flags.replays === undefined) {
    throw usageError('--app or --replays is missing, such as --app ./src/app.ts')
  }
  const exempt = flags.exempt?.split(',').map((one) => one.trim()) ?? []
  const examined = flags.app === undefined ? undefined : await examineModule(flags.app, flags.export, exempt)
  const late = flags.replays === undefined ? [] : lateReplays(readReplays(flags.replays))
  const findings = [...(examined?.findings ?? []), ...late]
  const text =
    flags.json === true
      ? `${JSON.stringify({ ...examined, findings }, undefined, 2)}\n`
      : reportOf(examined, findings)
  const code = findings.some(({ level }) => level === 'problem') ? exitCodes.failure : exitCodes.ok
  // The module may have opened connections that would keep the process.
  await new Promise((written) => process.stdout.write(text, written))
  process.exit(code)
}

async function examineModule(
  file: string,
  name: string | undefined,
  exempt: readonly string[],
): Promise<Examination> {
  const loaded = await loadUserModule('--app', file)
  const exported = name === undefined ? (loaded['app'] ?? loaded['default']) : loaded[name]
  if (exported === undefined) {
    const names = Object.keys(loaded).join(', ') || 'nothing'
    throw usageError(`--export ${name ?? 'app'} is no export of ${file}; it exports ${names}`)
  }
  try {
    return examine(await readyApp(exported), { exempt })
  } catch (error) {
    if (!isIdempotencyError(error, 'option-invalid')) throw error
    throw usageError(`${file}: ${error.message}`)
  }
}

/** The app itself: made where a function makes it, ready where it has to get so. */
async function readyApp(exported: unknown): Promise<unknown> {
  const isApp = (value: object): boolean => 'handle' in value || 'fetch' in value
  const made: unknown =
    typeof exported === 'function' && !isApp(exported)
      ? await (exported as () => unknown)()
      : await (exported as Promise<unknown>)
  if (typeof made !== 'object' || made === null) return made
  const { ready, printRoutes } = made as { ready?: () => Promise<unknown>; printRoutes?: unknown }
  if (typeof ready === 'function' && typeof printRoutes === 'function') await ready.call(made)
  return made
}

function readReplays(file: string): LateReplay[] {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw usageError(`--replays ${file} cannot be read: ${(error as { code?: string }).code ?? 'failed'}`)
  }
  const lines = text.split('\n').entries()
  return [...lines].flatMap(([at, line]) => (line.trim() === '' ? [] : replayOfLine(line, file, at + 1)))
}

/** Lines of other events are left out; what is no JSON is a mistake. */
function replayOfLine(line: string, file: string, at: number): LateReplay[] {
  let event: Partial<LateReplay> | null
  try {
    event = JSON.parse(line) as Partial<LateReplay> | null
  } catch {
    throw usageError(`${file}:${at}: is no JSON`)
  }
  const { operation, ageMs, leftMs } = event ?? {}
  if (typeof operation !== 'string' || typeof ageMs !== 'number' || typeof leftMs !== 'number') return []
  return ageMs >= 0 && leftMs > 0 ? [{ operation, ageMs, leftMs }] : []
}

function reportOf(examined: Examination | undefined, findings: readonly Finding[]): string {
  const lines: string[] = []
  if (examined !== undefined) {
    const { framework, routes, protected: guarded, unprotected } = examined
    lines.push(
      `${framework}: ${routes} routes, ${guarded + unprotected} POST or PATCH, ${guarded} protected`,
      '',
    )
  }
  for (const { level, operation, message, advice } of findings) {
    lines.push(`${level.padEnd(8)} ${operation} ${message}`, `${' '.repeat(9)}${advice}`)
  }
  const problems = findings.filter(({ level }) => level === 'problem').length
  const counted = problems === 1 ? '1 problem' : `${problems} problems`
  return `${[...lines, ...(findings.length > 0 ? [''] : []), counted].join('\n')}\n`
}
