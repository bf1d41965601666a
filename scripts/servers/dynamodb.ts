/**
 * DynamoDB as an emulator: moto, of PyPI, in a virtual environment of its own below `node_modules/.cache`. It shows
 * conditions, transactions and errors of requests, and no throttling, no conflict between transactions, no deletion
 * by time to live, and nothing of durability.
 */
import { execFile, execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import {
  endServer,
  freePort,
  installPackage,
  newFolder,
  requireProgram,
  type RunningServer,
  spawnServer,
  untilAnswers,
} from './process.ts'

const packages = ['moto[dynamodb]==5.2.5', 'flask==3.1.3', 'flask-cors==6.0.5', 'werkzeug==3.1.9']
const cache = join(import.meta.dirname, '../../node_modules/.cache')
const script = join(import.meta.dirname, 'dynamodb.py')
const run = promisify(execFile)

/** Starts the emulator on a free port of the loopback; it takes any region and any credentials. */
export async function startDynamodb(): Promise<RunningServer> {
  const python = await environment()
  const folder = newFolder('dynamodb', undefined)
  const port = await freePort()
  const child = spawnServer(python, [script, String(port)], undefined, 'KILL')
  const url = `http://127.0.0.1:${port}`
  await untilAnswers(child, async () => {
    const answer = await fetch(`${url}/moto-api/data.json`)
    await answer.arrayBuffer()
  })
  return { url, port, stop: () => endServer(child, folder) }
}

/** The program of an environment that has the packages; made once for each set of versions. */
async function environment(): Promise<string> {
  const name = `moto-${createHash('sha256').update(packages.join()).digest('hex').slice(0, 12)}`
  const made = join(cache, name)
  const program = (folder: string): string => join(folder, 'bin', 'python')
  if (existsSync(program(made))) return program(made)
  const python = requireProgram('python3', ['/usr/bin', '/usr/local/bin'], 'python3')
  requireVenv(python)
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(join(cache, `${name}-`))
  try {
    await run(python, ['-m', 'venv', folder])
    const install = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...packages]
    await run(program(folder), install)
    renameSync(folder, made)
  } catch (error) {
    // Another process may have made it meanwhile: a folder with something in it is not replaced.
    if (!existsSync(program(made))) throw error
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  return program(made)
}

/** Debian's python3 comes without the module. */
function requireVenv(python: string): void {
  const hasVenv = (): boolean => {
    try {
      execFileSync(python, ['-c', 'import ensurepip, venv'], { stdio: 'ignore' })
      return true
    } catch {
      return false
    }
  }
  if (hasVenv()) return
  installPackage('python3-venv', 'the module venv of python3')
  if (!hasVenv()) throw new Error('python3-venv brought no module venv')
}
