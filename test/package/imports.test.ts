import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, posix } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  arrows,
  bundledRooms,
  freeRooms,
  mainEntry,
  peers,
  runtimeFile,
  sharedInStores,
  units,
} from '../../scripts/arrows.ts'
import { filesBelow, isPackage, type ModuleImport, moduleImports } from '../../scripts/module-imports.ts'

const root = join(import.meta.dirname, '..', '..')
const rooms = [...Object.keys(arrows), ...freeRooms]

/** The room of a file of `src`, by its path in `src`; the main entry is a room of its own. */
function roomOf(file: string): string {
  return file.includes('/') ? file.slice(0, file.indexOf('/')) : 'main entry'
}

/** The store, or the framework, that a file is for; undefined for what a room shares. */
function unitOf(file: string): string | undefined {
  const [room = '', second = ''] = file.split('/')
  const unit = second.replace(/\.ts$/, '')
  if (room === 'stores') return sharedInStores.includes(unit) ? undefined : unit
  const named: readonly string[] | undefined = (units as Partial<Record<string, readonly string[]>>)[room]
  return named?.includes(unit) === true ? unit : undefined
}

function packageBreach(file: string, { specifier, typeOnly }: ModuleImport): string | undefined {
  const room = roomOf(file)
  if (room === 'core') return `core is pure, yet ${file} imports ${specifier}`
  const peer = peers[file]
  if (peer !== undefined) {
    return typeOnly || specifier === peer
      ? undefined
      : `${file} stands on ${peer}, yet it imports ${specifier}`
  }
  if (specifier.startsWith('node:') || typeOnly || bundledRooms.includes(room)) return undefined
  return `${file} imports ${specifier}, which would be a dependency`
}

function mainEntryBreach(target: string): string | undefined {
  const room = roomOf(target)
  const allowed =
    room === 'stores' ? mainEntry.stores.includes(unitOf(target) ?? '') : mainEntry.rooms.includes(room)
  return allowed ? undefined : `index.ts exports ${target}`
}

/** What is wrong with one import of one file of `src`, if anything. */
function breach(file: string, imported: ModuleImport): string | undefined {
  const { specifier } = imported
  if (specifier.startsWith('node:') || isPackage(specifier)) return packageBreach(file, imported)
  const target = posix.join(posix.dirname(file), specifier)
  if (target.startsWith('..')) return `${file} imports ${specifier}, which is outside src`
  const [from, to] = [roomOf(file), roomOf(target)]
  if (from === 'main entry') return mainEntryBreach(target)
  if (freeRooms.includes(from)) return undefined
  if (from !== to) {
    return arrows[from]?.includes(to) === true
      ? undefined
      : `${file} imports ${target}: no arrow ${from} -> ${to}`
  }
  const [own, other] = [unitOf(file), unitOf(target)]
  return other === undefined || own === other
    ? undefined
    : `${file} imports ${target}, a file of another unit`
}

function breaches(source: string, file: string): string[] {
  return moduleImports(file, source)
    .map((imported) => breach(file, imported))
    .filter((found) => found !== undefined)
}

describe('imports of src', () => {
  const src = join(root, 'src')
  const files = filesBelow(src, '.ts')
  const textOf = (file: string) => readFileSync(join(src, file), 'utf8')

  it('finds files to check', () => {
    expect(files).toContain('index.ts')
    expect(files.some((file) => file.startsWith('core/'))).toBe(true)
  })

  it('names a room for every file', () => {
    expect(files.filter((file) => ![...rooms, 'main entry'].includes(roomOf(file)))).toEqual([])
  })

  it('follow the arrows', () => {
    expect(files.flatMap((file) => breaches(textOf(file), file))).toEqual([])
  })

  it('asks for the time of day in one file of core and engine only', () => {
    const pure = files.filter((file) => /^(core|engine)\//.test(file) && `src/${file}` !== runtimeFile)
    expect(pure.filter((file) => /new Date\(\s*\)|Date\.now/.test(textOf(file)))).toEqual([])
  })
})

/** Files with the modules they import: every pair of rooms, and of units within a room. */
function plantedFiles(): Map<string, string[]> {
  const plants = new Map<string, string[]>()
  const everywhere = ['./own.ts', 'node:events', 'undici']
  for (const from of rooms) {
    // A file straight in `stores` is a store of its own.
    const base = from === 'stores' ? 'stores/memory' : from
    const others = rooms.filter((to) => from !== 'stores' || to !== from)
    const up = '../'.repeat(base.split('/').length)
    plants.set(`${base}/plant.ts`, [...others.map((to) => `${up}${to}/a.ts`), `${up}index.ts`, ...everywhere])
    plants.set(
      `${base}/deep/plant.ts`,
      others.map((to) => `../${up}${to}/a.ts`),
    )
  }
  for (const [room, names] of Object.entries(units)) {
    for (const own of names) {
      plants.set(
        `${room}/${own}.ts`,
        names.flatMap((other) => [`./${other}/a.ts`, `./${other}.ts`]),
      )
      plants.set(
        `${room}/${own}/unit.ts`,
        names.flatMap((other) => [`../${other}/a.ts`, `../${other}.ts`]),
      )
    }
  }
  for (const file of Object.keys(peers)) {
    const near = Object.values(peers).flatMap((peer) => [peer, peer.slice(0, -1), `${peer}-dom`])
    plants.set(file, [...everywhere, ...near, ...rooms.map((room) => `../${room}/a.ts`)])
  }
  plants.set('index.ts', [
    ...rooms.filter((room) => room !== 'stores').map((room) => `./${room}/a.ts`),
    ...units.stores.map((store) => `./stores/${store}.ts`),
    'node:events',
    'undici',
  ])
  return plants
}

/** Each module is imported on one line as a value and on the next as a type. */
function plantedLines(specifiers: readonly string[]): string[] {
  return specifiers.flatMap((specifier) => [
    `export { planted } from '${specifier}'`,
    `export type { Planted } from '${specifier}'`,
  ])
}

const impure: readonly string[] = [
  'Date.now()',
  'Math.random()',
  'performance.now()',
  'process.hrtime()',
  'crypto.randomUUID()',
  'setTimeout(() => {}, 1)',
  'setInterval(() => {}, 1)',
  'setImmediate(() => {})',
]

/** Code that only types can show to be wrong, by the rule that finds it. */
const careless: Readonly<Record<string, string>> = {
  'typescript(no-floating-promises)': 'async function act(): Promise<void> {}\nact()\n',
  'typescript(no-misused-promises)':
    'async function act(): Promise<boolean> {\n  return false\n}\nif (act()) throw new Error()\n',
  'typescript(await-thenable)': 'export const one: number = await 1\n',
  'typescript(switch-exhaustiveness-check)':
    "export function of(end: 'a' | 'b'): number {\n  switch (end) {\n    case 'a':\n      return 1\n  }\n  return 2\n}\n",
  'eslint(no-console)': 'console.log(1)\n',
}

interface Diagnostic {
  readonly code: string
  readonly filename: string
  readonly labels: ReadonlyArray<{ readonly span: { readonly line: number } }>
}

interface Finding {
  readonly rule: string
  /** File below `src` and line. */
  readonly place: string
}

describe('the linter', () => {
  let folder: string

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'retrysafe-lint-'))
    for (const name of ['oxlint.config.ts', 'scripts/arrows.ts', 'package.json', 'tsconfig.json']) {
      cpSync(join(root, name), join(folder, name))
    }
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  })

  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  function plant(path: string, source: string): void {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), source)
  }

  function lint(): Finding[] {
    const oxlint = join(root, 'node_modules', 'oxlint', 'bin', 'oxlint')
    // The exit code says that there are findings, and there are to be some.
    const { stdout } = spawnSync(process.execPath, [oxlint, '--format=json', 'src'], {
      cwd: folder,
      encoding: 'utf8',
      maxBuffer: 64 * 1024 * 1024,
    })
    const report = JSON.parse(stdout) as { diagnostics: Diagnostic[] }
    return report.diagnostics.map(({ code, filename, labels }) => ({
      rule: code,
      place: `${filename.replace(/^src\//, '')}:${labels[0]?.span.line}`,
    }))
  }

  it('agrees with the table of arrows on every pair of rooms and of units', () => {
    const forbidden: string[] = []
    for (const [file, specifiers] of plantedFiles()) {
      const lines = plantedLines(specifiers)
      plant(`src/${file}`, `${lines.join('\n')}\n`)
      lines.forEach((line, at) => {
        if (breaches(line, file).length > 0) forbidden.push(`${file}:${at + 1}`)
      })
    }
    const caught = lint().filter(({ rule }) => rule.includes('no-restricted-imports'))
    expect(forbidden.length).toBeGreaterThan(rooms.length)
    expect([...new Set(caught.map(({ place }) => place))].sort()).toEqual(forbidden.sort())
  })

  it('refuses time, randomness and timers in core and engine', () => {
    const source = impure.map((expression) => `${expression}\n`).join('')
    plant('src/core/impure.ts', source)
    plant('src/engine/impure.ts', source)
    const places = lint()
      .filter(({ rule }) => /no-restricted-(globals|properties)/.test(rule))
      .map(({ place }) => place)
    const expected = impure.flatMap((_, at) => [`core/impure.ts:${at + 1}`, `engine/impure.ts:${at + 1}`])
    expect(places).toEqual(expect.arrayContaining(expected))
  })

  // Of `new Date()` the linter knows nothing; with an argument it is no clock.
  it('need not look for dates that are the time of day in core and engine', () => {
    const readsClock = /\bDate\(\s*\)|\bnew Date\b(?!\s*\()/
    expect(['new Date()', 'Date()', 'new Date'].every((text) => readsClock.test(text))).toBe(true)
    const files = ['core', 'engine'].flatMap((room) =>
      filesBelow(join(root, 'src', room), '.ts').map((file) => join(root, 'src', room, file)),
    )
    expect(files.length).toBeGreaterThan(20)
    const found = files.filter((file) => readsClock.test(readFileSync(file, 'utf8')))
    expect(found).toEqual([])
  })

  it.each(Object.entries(careless))('refuses %s', (rule, source) => {
    plant('src/engine/careless.ts', source)
    expect(
      lint()
        .filter(({ place }) => place.startsWith('engine/careless.ts'))
        .map((one) => one.rule),
    ).toContain(rule)
  })
})
