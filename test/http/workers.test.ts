/**
 * The example of a Worker, bundled by vite and run by workerd (through miniflare): what it needs of its compatibility
 * flags, and that charges are safe to retry there.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { Miniflare } from 'miniflare'
import { build, type Rolldown } from 'vite'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { hasRedis, newPrefix, redisUrl } from '../servers.ts'
import { startUpstashShim } from '../stores/upstash-shim.ts'

const root = join(import.meta.dirname, '../..')
/** From when on the flag brings `Buffer` and the other globals. */
const earliestDate = '2024-09-23'

let code: string
let honoCode: string

beforeAll(async () => {
  code = await bundled(join(root, 'examples/worker/worker.ts'))
  honoCode = await bundled(join(root, 'test/http/worker-hono.ts'))
})

/** One module; `node:` imports stay, as they do when wrangler bundles. */
async function bundled(entry: string): Promise<string> {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    exports: Record<string, { default?: string }>
  }
  const alias = Object.entries(manifest.exports).flatMap(([subpath, { default: target }]) => {
    if (target === undefined) return []
    const source = target.replace('./dist/', 'src/').replace(/\.js$/, '.ts')
    return [{ find: new RegExp(`^retrysafe${subpath.slice(1)}$`), replacement: join(root, source) }]
  })
  const built = (await build({
    configFile: false,
    logLevel: 'error',
    root,
    resolve: { alias },
    ssr: { noExternal: true, target: 'webworker' },
    build: { ssr: entry, write: false, rolldownOptions: { output: { codeSplitting: false } } },
  })) as Rolldown.RolldownOutput
  return built.output[0].code
}

function start(
  contents: string,
  date: string,
  flags: string[],
  bindings: Record<string, string> = {},
): Miniflare {
  const worker = new Miniflare({
    modules: [{ type: 'ESModule', path: 'worker.mjs', contents }],
    compatibilityDate: date,
    compatibilityFlags: flags,
    bindings,
    handleRuntimeStdio: (stdout: Readable, stderr: Readable) => {
      stdout.resume()
      stderr.resume()
    },
  })
  return worker
}

test('it imports these modules of Node and no others', () => {
  const imported = Array.from(code.matchAll(/from\s*"(node:[\w/]+)"/g), ([, name]) => name)
  expect(new Set(imported)).toEqual(new Set(['node:crypto', 'node:zlib']))
})

test('without the flag nodejs_compat it does not start', async () => {
  const worker = start(code, earliestDate, [])
  await expect(worker.ready).rejects.toThrow()
  await worker.dispose().catch(() => {})
})

test('a middleware of Hono answers a retry there as elsewhere', async () => {
  const worker = start(honoCode, earliestDate, ['nodejs_compat'])
  onTestFinished(() => worker.dispose())
  const charge = async () => {
    const response = await worker.dispatchFetch('http://worker/charges', {
      method: 'POST',
      headers: { 'Idempotency-Key': 'k1', 'Content-Type': 'application/json' },
      body: '{"amount":1}',
    })
    return [response.status, response.headers.get('idempotent-replayed'), await response.text()]
  }
  expect(await charge()).toEqual([201, null, '{"id":1,"amount":1}'])
  expect(await charge()).toEqual([201, 'true', '{"id":1,"amount":1}'])
})

describe.skipIf(!hasRedis)('with nodejs_compat', () => {
  test.each([earliestDate, '2026-02-01', '2026-07-01'])('as of %s', async (date) => {
    const shim = await startUpstashShim(redisUrl)
    onTestFinished(() => shim.close())
    const worker = start(code, date, ['nodejs_compat'], {
      UPSTASH_REDIS_REST_URL: shim.url,
      UPSTASH_REDIS_REST_TOKEN: shim.token,
    })
    onTestFinished(() => worker.dispose())
    const tenant = newPrefix()
    const charge = async (key: string, body: object) => {
      const response = await worker.dispatchFetch('http://worker/charges', {
        method: 'POST',
        headers: { 'Idempotency-Key': key, 'Content-Type': 'application/json', 'X-Tenant': tenant },
        body: JSON.stringify(body),
      })
      const replayed = response.headers.get('idempotent-replayed')
      return { status: response.status, replayed, body: await response.text() }
    }
    const first = await charge('k1', { amount: 1 })
    expect(first).toEqual({ status: 201, replayed: null, body: '{"id":1,"amount":1}' })
    expect(await charge('k1', { amount: 1 })).toEqual({ ...first, replayed: 'true' })
    expect((await charge('k1', { amount: 2 })).status).toBe(422)

    // Long enough to be compressed where it is stored.
    const long = { amount: 1, padding: 'long '.repeat(1_000) }
    const stored = await charge('k2', long)
    expect(await charge('k2', long)).toEqual({ ...stored, replayed: 'true' })

    const burst = await Promise.all(Array.from({ length: 20 }, () => charge('k3', { amount: 3 })))
    expect(burst.filter(({ status }) => status !== 201 && status !== 409)).toEqual([])
    // An instance that requests share would hang here: one's batch carries what another one waits for.
    const many = await Promise.all(Array.from({ length: 60 }, (_, at) => charge(`many-${at}`, { amount: 4 })))
    expect(many.filter(({ status }) => status !== 201)).toEqual([])
    const counted = await worker.dispatchFetch('http://worker/charges')
    expect(await counted.json()).toEqual({ charges: 63 })
  })
})
