import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { publint } from 'publint'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import manifest from '../../package.json' with { type: 'json' }
import { peers } from '../../scripts/arrows.ts'
import { filesBelow } from '../../scripts/module-imports.ts'

const root = join(import.meta.dirname, '..', '..')
/** Those with code behind them; the others are plain files. */
const subpaths = Object.entries(manifest.exports)
  .filter(([, entry]) => typeof entry !== 'string')
  .map(([subpath]) => subpath)
/** Those that need a package of the reader's. */
const onPeers = subpaths.filter((subpath) => `${subpath.slice(2)}.ts` in peers)
const onNothing = subpaths.filter((subpath) => !onPeers.includes(subpath))
const buildMsMax = 120_000

/** Runs a program with this very Node first in the path, as a user of it would have. */
function run(command: string, args: readonly string[], cwd: string): { code: number | null; output: string } {
  const path = [dirname(process.execPath), process.env['PATH'] ?? ''].join(delimiter)
  // What an outer npm tells its scripts would point this npm at our own folder.
  const outer = Object.entries(process.env).filter(
    ([name]) => !/^npm_(package|lifecycle|config_local)/.test(name),
  )
  const env = { ...Object.fromEntries(outer), PATH: path, NO_COLOR: '1' }
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, env, encoding: 'utf8' })
  if (error !== undefined) throw error
  return { code: status, output: `${stdout}${stderr}` }
}

function runWell(command: string, args: readonly string[], cwd: string): string {
  const { code, output } = run(command, args, cwd)
  expect(code, output).toBe(0)
  return output
}

function specifierOf(subpath: string): string {
  return `${manifest.name}${subpath.slice(1)}`
}

/** The address that the gateway prints when it listens. */
async function originPrinted(output: Readable, exited: Promise<unknown[]>): Promise<string> {
  let text = ''
  const printed = (async () => {
    for await (const chunk of output.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
      text += String(chunk)
      const origin = /http:\/\/127\.0\.0\.1:\d+/.exec(text)?.[0]
      if (origin !== undefined) return origin
    }
    return undefined
  })()
  const origin = await Promise.race([printed, exited.then(() => undefined)])
  if (origin === undefined) throw new Error(`the gateway ended without an address: ${text}`)
  // What comes later is not read, and must not fill the pipe.
  output.resume()
  return origin
}

describe('the package as published', () => {
  let folder: string
  let user: string
  let installed: string
  let tarball: string

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'retrysafe-tarball-'))
    user = mkdtempSync(join(tmpdir(), 'retrysafe-user-'))
    installed = join(user, 'node_modules', manifest.name)
    runWell('npm', ['pack', '--pack-destination', folder], root)
    tarball = join(folder, `${manifest.name}-${manifest.version}.tgz`)
    writeFileSync(join(user, 'package.json'), JSON.stringify({ name: 'user', private: true, type: 'module' }))
    runWell('npm', ['install', '--offline', '--no-audit', '--no-fund', tarball], user)
  }, buildMsMax)

  afterAll(() => {
    for (const made of [folder, user]) rmSync(made, { recursive: true, force: true })
  })

  it('installs nothing else and runs nothing when installed', () => {
    const shipped = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as Record<
      string,
      unknown
    >
    const beside = readdirSync(join(user, 'node_modules')).filter((name) => !name.startsWith('.'))
    const scripts = Object.keys(shipped['scripts'] as object)
    expect(beside).toEqual([manifest.name])
    expect(shipped['dependencies']).toBeUndefined()
    expect(scripts.filter((name) => /^(pre|post)?(install|prepare)$/.test(name))).toEqual([])
  })

  it('holds dist and the papers, and neither sources nor tests', () => {
    const files = filesBelow(installed, '')
    const papers = files.filter((file) => !file.startsWith('dist/'))
    expect(papers).toEqual(
      expect.arrayContaining(['LICENSE', 'README.md', 'THIRD-PARTY-NOTICES.md', 'package.json']),
    )
    const known = /^([A-Z-]+(\.md)?|package\.json|docs\/errors\.md|openapi\/spectral\.yaml)$/
    expect(papers.filter((file) => !known.test(file))).toEqual([])
    expect(files.filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'))).toEqual([])
    const rooms = new Set(files.filter((file) => file.startsWith('dist/')).map((file) => file.split('/')[1]))
    for (const strange of ['test', 'src', 'bench', 'scripts', 'node_modules'])
      expect(rooms).not.toContain(strange)
  })

  it('has code and types behind every subpath', () => {
    const targets = Object.values(manifest.exports).flatMap((entry) =>
      typeof entry === 'string' ? [entry] : Object.values(entry),
    )
    expect(targets.filter((target) => !existsSync(join(installed, target)))).toEqual([])
  })

  function namesOf(subpath: string, cwd: string, ...flags: string[]): string[] {
    const source = `console.log(JSON.stringify(Object.keys(await import('${specifierOf(subpath)}'))))`
    return JSON.parse(runWell('node', [...flags, '--input-type=module', '-e', source], cwd)) as string[]
  }

  it.each(onNothing)('imports %s', (subpath) => {
    expect(namesOf(subpath, user).length).toBeGreaterThan(0)
  })

  it('gives browsers a client with the same names', () => {
    expect(namesOf('./client', user, '--conditions=browser')).toEqual(namesOf('./client', user))
  })

  it('imports the subpaths for a package of the reader where that is, and they have its types', () => {
    const reader = mkdtempSync(join(tmpdir(), 'retrysafe-reader-'))
    onTestFinished(() => rmSync(reader, { recursive: true, force: true }))
    cpSync(user, reader, { recursive: true })
    for (const name of ['react', '@types/react', '@tanstack/react-query']) {
      mkdirSync(dirname(join(reader, 'node_modules', name)), { recursive: true })
      symlinkSync(join(root, 'node_modules', name), join(reader, 'node_modules', name))
    }
    expect(onPeers).toHaveLength(Object.keys(peers).length)
    for (const subpath of onPeers) expect(namesOf(subpath, reader).length).toBeGreaterThan(0)
    compileUse(reader, onPeers, { lib: ['es2024', 'dom'], skipLibCheck: true })
  })

  it('has its React part in the browser where a component of the server imports it', () => {
    const text = readFileSync(join(installed, 'dist/client/react.js'), 'utf8')
    expect(text).toMatch(/^'use client';/)
  })

  /** Compiles a program that uses all that the subpaths export. */
  function compileUse(cwd: string, of: readonly string[], more: object): void {
    const lines = of.map((subpath, at) => `export * as part${at} from '${specifierOf(subpath)}'`)
    writeFileSync(join(cwd, 'use.ts'), `${lines.join('\n')}\n`)
    const options = {
      module: 'nodenext',
      target: 'es2023',
      lib: ['es2024', 'esnext.disposable'],
      strict: true,
      exactOptionalPropertyTypes: true,
      skipLibCheck: false,
      noEmit: true,
      types: ['node'],
      typeRoots: [join(root, 'node_modules', '@types')],
      ...more,
    }
    writeFileSync(join(cwd, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, files: ['use.ts'] }))
    runWell('node', [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', '.'], cwd)
  }

  it('has types that compile in strict mode without any other package than those of Node', () => {
    compileUse(user, onNothing, {})
  })

  it('runs as npx retrysafe', () => {
    expect(runWell('npx', ['--no-install', manifest.name, '--version'], user)).toContain(manifest.version)
  })

  it('runs the gateway in front of the sample service', async () => {
    const program = join(user, 'node_modules', '.bin', manifest.name)
    const child = spawn(process.execPath, [program, 'gateway', '--port', '0'], { cwd: user })
    const exited = once(child, 'exit')
    try {
      const origin = await originPrinted(child.stdout, exited)
      const charge = (amount: number) =>
        fetch(`${origin}/charges`, {
          method: 'POST',
          headers: { 'Content-Type': 'application/json', 'Idempotency-Key': 'tarball-1' },
          body: JSON.stringify({ amount, currency: 'eur' }),
        })
      const [first, again, other] = [await charge(1200), await charge(1200), await charge(9900)]
      expect([first.status, again.status, other.status]).toEqual([201, 201, 422])
      expect(again.headers.get('idempotent-replayed')).toBe('true')
      expect(await again.text()).toBe(await first.text())
      child.kill('SIGTERM')
      expect(await exited).toEqual([0, null])
    } finally {
      child.kill('SIGKILL')
    }
  })

  it('names the licence of every bundled package', () => {
    const notices = readFileSync(join(installed, 'THIRD-PARTY-NOTICES.md'), 'utf8')
    for (const name of ['undici', 'yaml', 'citty'])
      expect(notices).toMatch(new RegExp(`^## ${name} \\d`, 'm'))
  })

  it('satisfies publint', async () => {
    const bytes = readFileSync(tarball)
    const packed = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)
    const { messages } = await publint({ pack: { tarball: packed }, strict: true })
    expect(messages).toEqual([])
  })

  it('satisfies attw for users of ESM', () => {
    const attw = join(root, 'node_modules', '@arethetypeswrong', 'cli', 'dist', 'index.js')
    // A plain file has no types to look for.
    const plain = Object.entries(manifest.exports).filter(([, entry]) => typeof entry === 'string')
    const excluded = ['--exclude-entrypoints', ...plain.map(([subpath]) => subpath)]
    runWell('node', [attw, tarball, '--profile', 'esm-only', '--no-color', ...excluded], folder)
  })
})
