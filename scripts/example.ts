/** `npm run example -- express`: starts `examples/<name>/server.ts` on the sources. */
import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const [name = '', ...rest] = process.argv.slice(2)
const server = join(root, 'examples', name, 'server.ts')

if (name === '' || !existsSync(server)) {
  const names = readdirSync(join(root, 'examples')).filter((each) =>
    existsSync(join(root, 'examples', each, 'server.ts')),
  )
  process.stderr.write(`Name an example: ${names.join(', ')}\n`)
  process.exit(2)
}

const unbuilt = new URL('unbuilt.ts', import.meta.url).href
const child = spawn(
  process.execPath,
  ['--disable-warning=ExperimentalWarning', '--import', unbuilt, server, ...rest],
  {
    stdio: 'inherit',
  },
)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 0 : 1)))
