import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePorts } from '../../../scripts/servers/process.ts'
import type { StartedTarget } from './suite.ts'
import type { TargetDeclaration } from './target.ts'

/** How a target process is started. */
export interface LaunchOptions {
  /** Command line, given to the shell with `PORT`, `PORT2`, `PORT_H2`, `FIXTURE_STATE`, `FIXTURE_CONFIG` set. */
  readonly command: string
  readonly declared: TargetDeclaration
  /** Bound on one start in milliseconds. Default 15,000. */
  readonly startMsMax?: number
  /** Further environment of the command. */
  readonly environment?: Readonly<Record<string, string>>
}

const pollMs = 25

/**
 * Starts a target as a process of its own, on free ports and an empty state folder, and can kill and restart it.
 * Rejects when the command ends or does not listen in time.
 */
export async function launchTarget(options: LaunchOptions): Promise<StartedTarget> {
  const state = await mkdtemp(join(tmpdir(), 'conformance-'))
  const [port, port2, portH2] = (await freePorts(3)) as [number, number, number]
  const { caps, vars } = options.declared
  const environment = {
    ...process.env,
    ...options.environment,
    PORT: String(port),
    PORT2: String(port2),
    PORT_H2: String(portH2),
    FIXTURE_STATE: state,
    FIXTURE_CONFIG: JSON.stringify({ caps, vars: vars ?? {} }),
  }
  const ports = [port, ...(caps.includes('two') ? [port2] : []), ...(caps.includes('h2') ? [portH2] : [])]
  const start = async (): Promise<ChildProcess> => {
    // A group of its own lets the kill reach what the shell started, and nothing else.
    const child = spawn(options.command, {
      shell: true,
      detached: true,
      env: environment,
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    try {
      for (const each of ports) await listening(child, each, options.startMsMax ?? 15_000)
    } catch (error) {
      await stop(child)
      throw error
    }
    return child
  }
  const removeState = (): Promise<void> => rm(state, { recursive: true, force: true })
  let child = await start().catch(async (error: unknown) => {
    await removeState()
    throw error
  })
  // A group of its own also outlives an interrupted run, so the last act of this process is to end it.
  const killOnExit = (): void => killGroup(child)
  process.once('exit', killOnExit)
  return {
    url: `http://127.0.0.1:${port}`,
    ...(caps.includes('two') ? { url2: `http://127.0.0.1:${port2}` } : {}),
    ...(caps.includes('h2') ? { urlH2: `http://127.0.0.1:${portH2}` } : {}),
    restart: async () => {
      await stop(child)
      child = await start()
    },
    close: async () => {
      process.off('exit', killOnExit)
      await stop(child)
      await removeState()
    },
  }
}

async function listening(child: ChildProcess, port: number, startMsMax: number): Promise<void> {
  const deadline = Date.now() + startMsMax
  while (!(await accepts(port))) {
    if (ended(child))
      throw new Error(`the target ended with ${child.exitCode ?? child.signalCode} before it listened`)
    if (Date.now() > deadline)
      throw new Error(`the target did not listen on port ${port} within ${startMsMax} ms`)
    await delay(pollMs)
  }
}

function accepts(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const socket = connect({ host: '127.0.0.1', port })
  socket.on('connect', () => resolve(true))
  socket.on('error', () => resolve(false))
  return promise.finally(() => socket.destroy())
}

function ended(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}

async function stop(child: ChildProcess): Promise<void> {
  const exit = ended(child) ? undefined : once(child, 'exit')
  killGroup(child)
  await exit
}

function killGroup(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
  } catch {
    // The group is gone already.
  }
}
