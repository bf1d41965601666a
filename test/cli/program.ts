/** The `retrysafe` command as a process of its own, in a folder of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

const program = join(import.meta.dirname, '../../src/cli/retrysafe.ts')

/** An empty folder that is removed when the test ends. */
export function emptyFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'retrysafe-cli-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

export interface Program {
  readonly child: ChildProcess
  readonly output: () => string
  /** Exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>
}

export function start(folder: string, ...args: string[]): Program {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, ...args], {
    cwd: folder,
    env: { ...process.env, NO_COLOR: '1', SECRET_FOLDER: 'CANARY-folder' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | string)
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await ended
  })
  return { child, output: () => output, ended }
}

export async function run(
  folder: string,
  ...args: string[]
): Promise<{ code: number | string; output: string }> {
  const { ended, output } = start(folder, ...args)
  const code = await ended
  return { code, output: output() }
}

/** The gateway's origin, once it says that it listens. */
export async function originOf(started: Program): Promise<string> {
  for (;;) {
    const found = /gateway on (http:\/\/\S+),/.exec(started.output())?.[1]
    if (found !== undefined && started.output().includes('\n\n')) return found
    if (started.child.exitCode !== null) throw new Error(`ended early: ${started.output()}`)
    await Promise.race([once(started.child.stdout ?? started.child, 'data'), started.ended])
  }
}
