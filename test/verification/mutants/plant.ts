/** Plants a mutant in a copy of the project and looks whether it is caught there. */
import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Exploration, SimModeName } from '../../../src/verification/simulator/index.ts'
import type { Edit, Mutant } from './mutants.ts'

const root = join(import.meta.dirname, '..', '..', '..')

/** What it took to catch a mutant. */
export type Caught =
  | { readonly kind: 'caught'; readonly by: string; readonly seeds?: number; readonly first?: number }
  | { readonly kind: 'survived'; readonly says: string }

/** A copy of what runs need, with some places changed; `dispose` takes it away. */
export function plantedCopy(edits: readonly Edit[]): { readonly folder: string; dispose(): void } {
  const folder = mkdtempSync(join(tmpdir(), 'retrysafe-mutant-'))
  for (const name of ['src', 'test', 'scripts', 'package.json', 'vitest.config.ts', 'tsconfig.json']) {
    cpSync(join(root, name), join(folder, name), { recursive: true })
  }
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  for (const { file, find, replace } of edits) {
    const path = join(folder, file)
    const text = readFileSync(path, 'utf8')
    const count = text.split(find).length - 1
    if (count !== 1) throw new Error(`${file} has ${count} places like: ${find}`)
    writeFileSync(
      path,
      text.replace(find, () => replace),
    )
  }
  return { folder, dispose: () => rmSync(folder, { recursive: true, force: true }) }
}

/**
 * Plants a mutant and runs what must catch it.
 *
 * @param servers addresses of database servers, as variables of the environment
 */
export async function tryMutant(mutant: Mutant, servers: NodeJS.ProcessEnv = {}): Promise<Caught> {
  const { folder, dispose } = plantedCopy(mutant.edits)
  try {
    const { caughtBy } = mutant
    switch (caughtBy.kind) {
      case 'simulator':
        return await inSimulator(folder, caughtBy.mode, caughtBy.seeds)
      case 'tests':
        return await inTests(folder, caughtBy.file, caughtBy.name, servers)
      default:
        return caughtBy satisfies never
    }
  } finally {
    dispose()
  }
}

async function inSimulator(folder: string, mode: SimModeName, seeds: number): Promise<Caught> {
  const args = ['test/verification/sim.ts', '--mode', mode, '--seeds', `${seeds}`, '--json', '--stop-at', '1']
  const { output } = await run(process.execPath, args, folder, {})
  const line = output.split('\n').find((text) => text.startsWith('{'))
  // What makes every run end at once is caught, too.
  if (line === undefined) return { kind: 'caught', by: `an error: ${firstLine(output)}` }
  const { found } = JSON.parse(line) as Exploration
  const [first] = found
  if (first === undefined) return { kind: 'survived', says: `${seeds} seeds of ${mode}` }
  const invariants = [...new Set(first.violations.map(({ invariant }) => invariant))]
  return { kind: 'caught', by: invariants.join(' '), seeds, first: first.seed }
}

async function inTests(
  folder: string,
  file: string,
  name: string,
  servers: NodeJS.ProcessEnv,
): Promise<Caught> {
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')
  const args = [vitest, 'run', file, '-t', name, '--no-typecheck', '--no-cache']
  const { code, output } = await run(process.execPath, args, folder, servers)
  const [, failed] = /(\d+) passed, (\d+) failed/.exec(output)?.slice(1) ?? []
  if (code !== 0 && Number(failed) > 0) return { kind: 'caught', by: file }
  return { kind: 'survived', says: `${file}, ${name}: ${lastLine(output)}` }
}

function run(
  command: string,
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv,
): Promise<{ readonly code: number; readonly output: string }> {
  return new Promise((resolve, reject) => {
    // The counts of a run within a run are its own.
    const { RETRYSAFE_TOTALS_FILE: _, ...inherited } = process.env
    const child = spawn(command, args, {
      cwd,
      env: { ...inherited, NO_COLOR: '1', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => (output += text))
    }
    child.once('error', reject)
    child.once('close', (code) => resolve({ code: code ?? 1, output }))
  })
}

const firstLine = (text: string): string => text.split('\n').find((line) => /error/i.test(line)) ?? ''
const lastLine = (text: string): string => text.trimEnd().split('\n').at(-1) ?? ''
