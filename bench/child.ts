/** Children of a run: the measured servers, each in a process of its own. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

export interface Child {
  readonly process: ChildProcess
  readonly port: number
  /** Processor time that it has used so far, in microseconds. */
  cpuMicros(): Promise<number>
  /** Resolves once it has ended. */
  stop(): Promise<void>
}

/** Starts `bench/<script>` and waits until it says that it is ready. */
export async function startChild(
  script: string,
  args: readonly string[],
  { execArgv = [] }: { readonly execArgv?: readonly string[] } = {},
): Promise<Child> {
  const child = fork(join(import.meta.dirname, script), [...args], {
    execArgv: [...execArgv],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const exited = once(child, 'exit')
  const ready = await Promise.race([
    once(child, 'message') as Promise<[{ readonly port?: number }]>,
    exited.then(([code]) => {
      throw new Error(`${script} ${args.join(' ')} ended with ${code} before it was ready.`)
    }),
  ])
  return {
    process: child,
    port: ready[0].port ?? 0,
    async cpuMicros() {
      const answer = once(child, 'message') as Promise<[{ readonly cpuMicros: number }]>
      child.send('cpu')
      return (await answer)[0].cpuMicros
    },
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill()
      await exited
    },
  }
}

/** Children that are stopped together, whatever happens between. */
export async function withChildren<Result>(
  use: (start: typeof startChild) => Promise<Result>,
): Promise<Result> {
  const children: Child[] = []
  try {
    return await use(async (...call) => {
      const child = await startChild(...call)
      children.push(child)
      return child
    })
  } finally {
    await Promise.all(children.map((child) => child.stop()))
  }
}

/** For the child: says that it is ready, answers for its processor time, and ends with its parent. */
export function serveParent(port: number): void {
  process.on('disconnect', () => process.exit())
  process.on('message', () => {
    const { user, system } = process.cpuUsage()
    process.send?.({ cpuMicros: user + system })
  })
  process.send?.({ port })
}
