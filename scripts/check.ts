/**
 * Everything that must hold before a change goes in: types, lint, format, unused code, tests. Each static step
 * counts as one test. Arguments go to the test runner: `npm test -- test/core`.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { type Failure, type RunSummary, summaryLines } from './totals.ts'

const root = join(import.meta.dirname, '..')

const staticSteps: ReadonlyArray<readonly [name: string, ...command: [string, ...string[]]]> = [
  ['types', 'tsc', '-p', '.'],
  ['types of the playground', 'tsc', '-p', 'playground'],
  ...['examples/next', 'examples/react-router', 'test/http/apps/next', 'test/http/apps/react-router'].map(
    (app): [string, string, ...string[]] => [`types of ${app}`, 'tsc', '-p', app],
  ),
  ['lint', 'oxlint', '.'],
  ['format', 'biome', 'format', '.'],
  ['unused code', 'knip', '--no-progress'],
]

interface Run {
  readonly code: number
  readonly output: string
}

/** Runs a tool of node_modules; its output is kept, or shown as it comes. */
function run(command: string, args: readonly string[], show: boolean, env: NodeJS.ProcessEnv): Promise<Run> {
  return new Promise((resolve, reject) => {
    const path = [join(root, 'node_modules', '.bin'), process.env['PATH'] ?? ''].join(delimiter)
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...env, PATH: path },
      shell: process.platform === 'win32',
      stdio: ['ignore', show ? 'inherit' : 'pipe', show ? 'inherit' : 'pipe'],
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    }
    child.once('error', reject)
    child.once('close', (code) => resolve({ code: code ?? 1, output }))
  })
}

async function runStaticStep(name: string, command: string, args: readonly string[]): Promise<boolean> {
  const { code, output } = await run(command, args, false, {})
  console.log(`${code === 0 ? 'ok    ' : 'FAILED'} ${name}`)
  if (code !== 0) console.log(output.trimEnd())
  return code === 0
}

/** A run that left no summary, or failed without a failed test, still counts as one failure. */
async function runTests(filters: readonly string[]): Promise<RunSummary> {
  const folder = mkdtempSync(join(tmpdir(), 'retrysafe-check-'))
  const file = join(folder, 'totals.json')
  try {
    const { code } = await run('vitest', ['run', ...filters], true, { RETRYSAFE_TOTALS_FILE: file })
    const summary = readSummary(file)
    if (code === 0 || summary.failures.length > 0) return summary
    return { ...summary, failures: [{ test: 'vitest', error: `exit code ${code} without a failed test` }] }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function readSummary(file: string): RunSummary {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as RunSummary
  } catch {
    return { passed: 0, failures: [{ test: 'vitest', error: 'left no summary' }], skips: [] }
  }
}

const steps = await Promise.all(
  staticSteps.map(([name, command, ...args]) => runStaticStep(name, command, args)),
)
const tests = await runTests(process.argv.slice(2))
const failedSteps = staticSteps.filter((_, index) => !steps[index]).map(([name]) => name)
const failures: Failure[] = failedSteps.map((name) => ({ test: name, error: 'see its output above' }))
const summary: RunSummary = {
  passed: tests.passed + steps.length - failedSteps.length,
  failures: [...failures, ...tests.failures],
  skips: tests.skips,
}
for (const line of summaryLines(summary)) console.log(line)
process.exitCode = summary.failures.length === 0 ? 0 : 1
