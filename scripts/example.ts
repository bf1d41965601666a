/**
 * `npm run example -- express`: starts `examples/<name>/server.ts` on the sources. An example whose `tsconfig.json` has
 * an `outDir` has syntax that Node cannot strip, such as decorators: the compiler makes it first.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const [name = '', ...rest] = process.argv.slice(2)
const folder = join(root, 'examples', name)
const source = join(folder, 'server.ts')

if (name === '' || !existsSync(source)) {
  const names = readdirSync(join(root, 'examples')).filter((each) =>
    existsSync(join(root, 'examples', each, 'server.ts')),
  )
  process.stderr.write(`Name an example: ${names.join(', ')}\n`)
  process.exit(2)
}

/** The file that Node runs. */
function runnable(): string {
  const project = join(folder, 'tsconfig.json')
  if (!existsSync(project) || !readFileSync(project, 'utf8').includes('"outDir"')) return source
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const { status } = spawnSync(process.execPath, [tsc, '-p', project], { stdio: 'inherit' })
  if (status !== 0) process.exit(1)
  return join(folder, 'dist', 'examples', name, 'server.js')
}

const unbuilt = new URL('unbuilt.ts', import.meta.url).href
const child = spawn(
  process.execPath,
  ['--disable-warning=ExperimentalWarning', '--import', unbuilt, runnable(), ...rest],
  {
    stdio: 'inherit',
  },
)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 0 : 1)))
