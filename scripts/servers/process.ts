/** Starting a server program under a user that it accepts, in a folder that goes with it. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'

export interface RunningServer {
  readonly url: string
  readonly port: number
  stop(): Promise<void>
}

export interface Account {
  readonly uid: number
  readonly gid: number
}

/** Database servers refuse to run as root: they get the account that their package made. */
export function accountOf(user: string): Account | undefined {
  if (process.getuid?.() !== 0) return undefined
  const id = (flag: string): number => Number(execFileSync('id', [flag, user], { encoding: 'utf8' }).trim())
  return { uid: id('-u'), gid: id('-g') }
}

/** The path of a program in PATH or in one of the folders; a `*` stands for the newest version. */
export function findProgram(name: string, folders: readonly string[]): string | undefined {
  const searched = [...folders.flatMap(expand), ...(process.env['PATH'] ?? '').split(delimiter)]
  return searched.map((folder) => join(folder, name)).find((path) => existsSync(path))
}

function expand(folder: string): readonly string[] {
  const [parent, rest] = folder.split('/*/')
  if (parent === undefined || rest === undefined) return [folder]
  if (!existsSync(parent)) return []
  const versions = readdirSync(parent).sort((a, b) => Number(b) - Number(a))
  return versions.map((version) => join(parent, version, rest))
}

/** Finds a program, and installs its Debian package first where that is possible. @throws Error */
export function requireProgram(name: string, folders: readonly string[], debianPackage: string): string {
  const found = findProgram(name, folders)
  if (found !== undefined) return found
  installPackage(debianPackage, name)
  const installed = findProgram(name, folders)
  if (installed === undefined) throw new Error(`${debianPackage} brought no ${name}`)
  return installed
}

/** Installs a Debian package, where that is possible. @throws Error that says what is missing */
export function installPackage(debianPackage: string, missing: string): void {
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    throw new Error(`${missing} is not on this machine; install ${debianPackage}`)
  }
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const install = ['install', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=300', debianPackage]
  try {
    execFileSync('apt-get', install, { env, stdio: 'ignore' })
  } catch {
    execFileSync('apt-get', ['update'], { env, stdio: 'ignore' })
    execFileSync('apt-get', install, { env, stdio: 'ignore' })
  }
}

/** A new folder that belongs to the account, in `RETRYSAFE_SERVERS_FOLDER` or the folder for temporary files. */
export function newFolder(prefix: string, account: Account | undefined): string {
  const parent = process.env['RETRYSAFE_SERVERS_FOLDER'] ?? tmpdir()
  const folder = mkdtempSync(join(parent, `retrysafe-${prefix}-`))
  if (account !== undefined) chownSync(folder, account.uid, account.gid)
  return folder
}

/**
 * Below the ports that Linux hands to connections, which could take one between its choice and its use. Each test
 * worker has a part of them, and the programs that it starts another, so that none takes what another has chosen and
 * not bound yet.
 */
const portsFrom = 15_000
const parts = 8
const portsInPart = 2_200
const worker = process.env['VITEST_POOL_ID'] ?? '0'
const isStartedByWorker = process.env['RETRYSAFE_PORTS_OF'] === worker
process.env['RETRYSAFE_PORTS_OF'] = worker
const part = (2 * Number(worker) + Number(isStartedByWorker)) % parts
const choicesMax = 100
const chosen = new Set<number>()

/** Ports of the loopback on which nobody listens, none of them twice in one process. @throws Error */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  for (let choice = 0; choice < choicesMax && ports.length < count; choice++) {
    const port = portsFrom + part * portsInPart + randomInt(portsInPart)
    if (chosen.has(port) || !(await isFree(port))) continue
    chosen.add(port)
    ports.push(port)
  }
  if (ports.length < count) throw new Error(`No ${count} free ports were found in ${choicesMax} choices.`)
  return ports
}

export async function freePort(): Promise<number> {
  const [port] = await freePorts(1)
  return port as number
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}

/**
 * Spawns a server beside a shell that waits on a pipe from this process: when this process ends, in whatever
 * way, the pipe closes and the shell kills the server.
 */
export function spawnServer(
  program: string,
  args: readonly string[],
  account: Account | undefined,
  signal: 'QUIT' | 'KILL' = 'QUIT',
): ChildProcess {
  const script = `"$@" </dev/null >/dev/null 2>&1 & server=$!; read -r _; kill -${signal} "$server"; wait "$server"`
  return spawn('/bin/sh', ['-c', script, 'sh', program, ...args], {
    stdio: ['pipe', 'ignore', 'ignore'],
    ...account,
  })
}

/** Ends what `spawnServer` started and removes its folder. */
export async function endServer(child: ChildProcess, folder: string): Promise<void> {
  const ended = new Promise<void>((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve()
    else child.once('exit', () => resolve())
  })
  child.stdin?.end()
  await ended
  rmSync(folder, { recursive: true, force: true })
}

/** A minute: a disk that is busy with other things holds a start up for long. */
const attemptsMax = 600
const attemptMs = 100

/** Asks until the server answers. @throws the last error */
export async function untilAnswers(child: ChildProcess, ask: () => Promise<unknown>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await ask()
      return
    } catch (error) {
      if (attempt === attemptsMax || child.exitCode !== null) throw error
      await new Promise((resolve) => setTimeout(resolve, attemptMs))
    }
  }
}
