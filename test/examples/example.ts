/** Starts an example as a reader of it would, and calls it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

const root = join(import.meta.dirname, '../..')

/** Starts `examples/<name>/server.ts` until the test ends, and resolves to the origin that it prints. */
export async function startExample(name: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'example-'))
  const env = { ...process.env, PORT: '0', DB: join(folder, 'idempotency.db') }
  const child = spawn(process.execPath, ['scripts/example.ts', name], {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  onTestFinished(async () => {
    child.kill()
    await exited
    rmSync(folder, { recursive: true })
  })
  const printed = (async () => {
    let text = ''
    for await (const piece of child.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
      text += String(piece)
      const origin = /http:\/\/127\.0\.0\.1:\d+/.exec(text)?.[0]
      if (origin !== undefined) return origin
    }
    throw new Error(`The example ended without an address: ${text}`)
  })()
  const origin = await Promise.race([printed, exited.then(() => printed)])
  child.stdout.resume()
  return origin
}

/** What an example answers to a request. */
export interface ExampleAnswer {
  readonly status: number
  readonly body: string
  readonly replayed: boolean
}

/** Sends a POST with a key as an example's reader would with curl. */
export async function callExample(url: string, key: string, body: unknown): Promise<ExampleAnswer> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key, 'X-Tenant': 't1' },
    body: JSON.stringify(body),
  })
  return {
    status: response.status,
    body: await response.text(),
    replayed: response.headers.get('idempotent-replayed') === 'true',
  }
}
