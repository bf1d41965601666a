/**
 * Makes `dist`: the compiler turns each source file into one module with its types, then the packages that the
 * program parts use are bundled into `dist/vendor` and imported from there, so that the published package has no
 * dependencies and each module of ours exists once, whichever subpath it is reached by.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { extname, join, posix } from 'node:path'
import { build, type Rolldown } from 'vite'
import manifest from '../package.json' with { type: 'json' }
import { bundledRooms, peers } from './arrows.ts'
import { filesBelow, isPackage, type ModuleImport, moduleImports } from './module-imports.ts'

const root = join(import.meta.dirname, '..')
const source = join(root, 'src')
const dist = join(root, 'dist')
const noticesFile = join(root, 'THIRD-PARTY-NOTICES.md')

/** Oldest Node that the package supports, as the bundler names it. */
const target = 'node22'

function compile(): void {
  rmSync(dist, { recursive: true, force: true })
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], {
    cwd: root,
    stdio: 'inherit',
  })
  if (status !== 0) process.exit(1)
  cpSync(source, dist, {
    recursive: true,
    filter: (path) => extname(path) !== '.ts',
  })
}

/** Modules of `dist` that import packages, with those imports. */
function packageImports(ending: string): Map<string, ModuleImport[]> {
  const found = new Map<string, ModuleImport[]>()
  for (const file of filesBelow(dist, ending)) {
    if (file.startsWith('vendor/')) continue
    const imports = moduleImports(file, readFileSync(join(dist, file), 'utf8'))
    const packages = imports.filter((one) => isPackage(one.specifier))
    if (packages.length > 0) found.set(file, packages)
  }
  return found
}

/** Modules whose packages go into `dist`. What stands on a peer takes the reader's own. */
function bundling(): Map<string, ModuleImport[]> {
  const found = packageImports('.js')
  for (const [file, peer] of Object.entries(peers)) {
    const module = file.replace(/ts$/, 'js')
    const others = (found.get(module) ?? []).filter(({ specifier }) => specifier !== peer)
    if (others.length === 0) found.delete(module)
    else found.set(module, others)
  }
  return found
}

/** Which names of which package the program parts use. */
function namesByPackage(modules: ReadonlyMap<string, readonly ModuleImport[]>): Map<string, Set<string>> {
  const used = new Map<string, Set<string>>()
  for (const [file, imports] of modules) {
    for (const { specifier, names } of imports) {
      if (!bundledRooms.some((room) => file.startsWith(`${room}/`))) {
        throw new Error(`dist/${file} imports ${specifier}, but only ${bundledRooms.join(', ')} are bundled`)
      }
      if (names.includes('*') || names.length === 0) {
        throw new Error(`dist/${file} must import what it uses of ${specifier} by name`)
      }
      used.set(specifier, new Set([...(used.get(specifier) ?? []), ...names]))
    }
  }
  return used
}

function vendorName(specifier: string): string {
  return specifier.replace(/^@/, '').replaceAll('/', '-')
}

const entryPrefix = 'vendor:'

/** Bundles the packages and returns the folders of all packages whose code went in. */
async function bundle(used: ReadonlyMap<string, ReadonlySet<string>>): Promise<Set<string>> {
  const entries = [...used.keys()].map((specifier) => [vendorName(specifier), entryPrefix + specifier])
  const output = (await build({
    root,
    configFile: false,
    logLevel: 'warn',
    ssr: { noExternal: true, target: 'node' },
    build: {
      ssr: true,
      target,
      outDir: join(dist, 'vendor'),
      minify: false,
      rolldownOptions: {
        input: Object.fromEntries(entries),
        output: { format: 'es', entryFileNames: '[name].js', chunkFileNames: 'shared-[hash].js' },
      },
    },
    plugins: [
      {
        name: 'vendor-entries',
        enforce: 'pre',
        resolveId: (id) => (id.startsWith(entryPrefix) ? join(root, id) : undefined),
        load(id) {
          const specifier = id.split(entryPrefix)[1]
          const names = specifier === undefined ? undefined : used.get(specifier)
          return names && `export { ${[...names].join(', ')} } from '${specifier}'`
        },
      },
    ],
  })) as Rolldown.RolldownOutput
  const modules = output.output.flatMap((chunk) => (chunk.type === 'chunk' ? chunk.moduleIds : []))
  return new Set(modules.map(packageFolder).filter((folder) => folder !== undefined))
}

function packageFolder(moduleId: string): string | undefined {
  return /^\0?(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(moduleId)?.[1]
}

function useVendored(modules: ReadonlyMap<string, readonly ModuleImport[]>): void {
  for (const [file, imports] of modules) {
    let text = readFileSync(join(dist, file), 'utf8')
    for (const { specifier, start, end } of imports.toSorted((one, other) => other.start - one.start)) {
      const path = posix.relative(posix.dirname(file), `vendor/${vendorName(specifier)}.js`)
      text = `${text.slice(0, start)}'${path.startsWith('.') ? path : `./${path}`}'${text.slice(end)}`
    }
    writeFileSync(join(dist, file), text)
  }
}

/** The files of types that a user's compiler reads: those of the subpaths and what they import. */
function reachableTypes(): Set<string> {
  const entries = Object.values(manifest.exports).flatMap((entry) =>
    typeof entry === 'string' ? [] : [posix.relative('dist', posix.normalize(entry.types))],
  )
  const reached = new Set<string>(entries)
  for (const file of reached) {
    for (const { specifier } of moduleImports(file, readFileSync(join(dist, file), 'utf8'))) {
      if (!specifier.startsWith('.')) continue
      reached.add(posix.join(posix.dirname(file), specifier).replace(/\.[jt]s$/, '.d.ts'))
    }
  }
  return reached
}

/** Types of a package that a user does not have would silently become `any` for them. */
function checkTypes(): void {
  const reached = reachableTypes()
  for (const [file, imports] of packageImports('.d.ts')) {
    if (!reached.has(file)) continue
    for (const { specifier } of imports) {
      if (!(specifier in manifest.peerDependencies))
        throw new Error(`dist/${file} names types of ${specifier}, which is not a peer`)
    }
  }
}

function licenceFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /^(licen[cs]e|notice|copying)(\.|$)/i.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => !file.slice(folder.length + 1).includes('node_modules'))
    .sort()
}

function notices(folders: ReadonlySet<string>): string {
  const sections = [...folders].sort().map((folder) => {
    const about = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Record<string, string>
    const files = licenceFiles(folder)
    if (files.length === 0) throw new Error(`${about['name']} has no licence file to put into the notices`)
    const texts = files.map((file) => `\`\`\`text\n${readFileSync(file, 'utf8').trim()}\n\`\`\``)
    return `## ${about['name']} ${about['version']} (${about['license']})\n\n${texts.join('\n\n')}\n`
  })
  return `# Third-party notices\n\nThe published package contains code of these packages, under their licences.\n\n${sections.join('\n')}`
}

compile()
const modules = bundling()
const used = namesByPackage(modules)
const folders = used.size > 0 ? await bundle(used) : new Set<string>()
useVendored(modules)
checkTypes()
writeFileSync(noticesFile, notices(folders))
const program = join(root, manifest.bin.retrysafe)
if (existsSync(program)) chmodSync(program, 0o755)
