/** `retrysafe doctor` on modules of real apps. */
import { writeFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { run } from './program.ts'

const root = join(import.meta.dirname, '../..')

/** A folder inside the project, so that modules there find the frameworks. */
function projectFolder(): string {
  mkdirSync(join(root, '.scratch'), { recursive: true })
  const folder = mkdtempSync(join(root, '.scratch', 'doctor-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}

const source = (file: string): string => JSON.stringify(join(root, 'src', file))

const head = `
import express from 'express'
import { createIdempotency, memoryStore } from ${source('index.ts')}
import { idempotent } from ${source('http/express.ts')}
const idem = createIdempotency({ store: memoryStore(), sweep: false })
const layer = idempotent(idem, { principal: (req) => req.get('x-tenant') })
`
const app = `${head}
export const app = express()
app.post('/charges', layer, (req, res) => res.end())
app.post('/refunds', (req, res) => res.end())
app.post('/login', (req, res) => res.end())
`

test('unprotected routes are problems: exit code 1, and each with its advice', async () => {
  const folder = projectFolder()
  writeFileSync(join(folder, 'app.ts'), app)
  const { code, output } = await run(folder, 'doctor', '--app', 'app.ts', '--exempt', 'POST /login')
  expect([code, output]).toEqual([
    1,
    expect.stringMatching(
      /^express: 3 routes, 3 POST or PATCH, 1 protected\n\nproblem +POST \/refunds takes no [^]+\n\n1 problem\n$/,
    ),
  ])
})

test('an app that a function makes, a server that listens, and JSON', async () => {
  const folder = projectFolder()
  writeFileSync(
    join(folder, 'app.ts'),
    `import Fastify from 'fastify'
    import { createServer } from 'node:http'
    createServer().listen(0, '127.0.0.1')
    export const make = async () => {
      const app = Fastify()
      app.post('/x', async () => '')
      return app
    }`,
  )
  const { code, output } = await run(folder, 'doctor', '--app', 'app.ts', '--export', 'make', '--json')
  expect(code).toBe(1)
  expect(JSON.parse(output)).toMatchObject({
    framework: 'fastify',
    unprotected: 1,
    findings: [{ code: 'route-unprotected', operation: 'POST /x' }],
  })
})

test('nothing to find is exit code 0', async () => {
  const folder = projectFolder()
  writeFileSync(join(folder, 'app.ts'), app)
  const { code, output } = await run(
    folder,
    'doctor',
    '--app',
    relative(folder, join(folder, 'app.ts')),
    '--exempt',
    'POST /login, POST /ref*',
  )
  expect([code, output]).toEqual([0, expect.stringMatching(/\n\n0 problems\n$/)])
})

test('late replays, from lines of a log', async () => {
  const folder = projectFolder()
  const lines = [
    { operation: 'POST /charges', ageMs: 80_000_000, leftMs: 6_400_000 },
    { operation: 'POST /refunds', ageMs: 60_000, leftMs: 86_340_000 },
    { msg: 'something else' },
  ]
  writeFileSync(join(folder, 'log'), lines.map((line) => JSON.stringify(line)).join('\n'))
  const { code, output } = await run(folder, 'doctor', '--replays', 'log')
  expect([code, output]).toEqual([
    1,
    expect.stringMatching(
      /^problem +POST \/charges was retried 23 h [^]+retention of 24 h[^]+\n1 problem\n$/,
    ),
  ])
})

test.each<[string[], RegExp]>([
  [[], /--app or --replays is missing/],
  [['--app', 'none.ts'], /none\.ts cannot be loaded/],
  [['--app', 'app.ts', '--export', 'nothing'], /nothing is no export of app\.ts; it exports app/],
  [['--app', 'app.ts', '--exempt', 'login'], /'POST \/login'/],
  [['--app', 'number.ts'], /must be an app of/],
  [['--replays', 'app.ts'], /app\.ts:2: is no JSON/],
  [['--replays', 'none'], /cannot be read: ENOENT/],
  [['--ap', 'x'], /--ap is not known/],
])('%j is refused', async (flags, says) => {
  const folder = projectFolder()
  writeFileSync(join(folder, 'app.ts'), app)
  writeFileSync(join(folder, 'number.ts'), 'export const app = 1')
  const { code, output } = await run(folder, 'doctor', ...flags)
  expect(code).toBe(flags[1] === 'none.ts' ? 1 : 2)
  expect(output).toMatch(says)
})
