/** Builds an app of a framework with the framework's own command, and serves it in a process of its own. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { freePort } from '../../../scripts/servers/process.ts'

const root = join(import.meta.dirname, '../../..')

/** What a file of `node_modules` is started with. */
export interface AppCommand {
  /** Path in `node_modules`. */
  readonly program: string
  readonly args: readonly string[]
  /** Folder of the app in `test/http/apps`. */
  readonly app: string
  readonly env?: Readonly<Record<string, string>>
  /** How a server is ended. Default `'SIGKILL'`; one with processes of its own has to be asked, to end them too. */
  readonly endedBy?: 'SIGTERM'
}

export interface RunningApp {
  readonly port: number
  readonly origin: string
  close(): Promise<unknown>
}

function launch({ program, args, app, env }: AppCommand): ReturnType<typeof spawn> {
  // What vitest sets for itself would make a framework build for tests.
  const { NODE_ENV: _, VITEST: __, ...inherited } = process.env
  return spawn(process.execPath, [join(root, 'node_modules', program), ...args], {
    cwd: join(root, 'test/http/apps', app),
    env: { ...inherited, NEXT_TELEMETRY_DISABLED: '1', ...env } as NodeJS.ProcessEnv,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

/**
 * Runs a command to its end. Test files that build one app at once each need an output of their own.
 *
 * @throws Error with its output where it fails
 */
export async function buildApp(command: AppCommand): Promise<void> {
  const child = launch(command)
  const output = outputOf(child)
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`The build ended with ${code}:\n${output()}`)
}

/** Starts a server and resolves when it answers. `PORT` and `HOST` are set for it. */
export async function serveApp(command: AppCommand): Promise<RunningApp> {
  const port = await freePort()
  const child = launch({ ...command, env: { ...command.env, PORT: String(port), HOST: '127.0.0.1' } })
  const output = outputOf(child)
  const closed = once(child, 'close')
  const origin = `http://127.0.0.1:${port}`
  const ended = closed.then(() => {
    throw new Error(`The server ended:\n${output()}`)
  })
  await Promise.race([answering(origin), ended])
  ended.catch(() => {})
  return {
    port,
    origin,
    close: () => {
      child.kill(command.endedBy ?? 'SIGKILL')
      return closed
    },
  }
}

function outputOf(child: ReturnType<typeof spawn>): () => string {
  let text = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (piece: string) => {
      text += piece
    })
  }
  return () => text
}

async function answering(origin: string): Promise<void> {
  for (;;) {
    try {
      await (await fetch(`${origin}/runs`)).arrayBuffer()
      return
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}
