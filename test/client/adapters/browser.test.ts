/** The adapters of libraries that run in browsers, in Chromium. */
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { build, type Rolldown } from 'vite'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { hasChromium, launchChromium } from '../../../scripts/servers/chromium.ts'
import type { PageCall } from './page.ts'
import { answers, cut, redirects, scripted, type ScriptedServer, type Step } from './scripted-server.ts'

let browser: Browser
let script: string

async function bundled(): Promise<string> {
  const input = join(import.meta.dirname, 'page.ts')
  const options = { write: false, minify: false, rollupOptions: { input } } as const
  const built = await build({ configFile: false, logLevel: 'error', build: options })
  const [output] = (Array.isArray(built) ? built : [built]) as Rolldown.RolldownOutput[]
  const chunk = output?.output.find((file) => file.type === 'chunk' && file.isEntry)
  if (chunk?.type !== 'chunk') throw new Error('No script was built.')
  return chunk.code
}

describe.skipIf(!hasChromium())('in Chromium', () => {
  beforeAll(async () => {
    ;[browser, script] = await Promise.all([launchChromium(), bundled()])
  })
  afterAll(() => browser?.close())

  const pages: Readonly<Record<string, Step>> = {
    '/': (response) =>
      response
        .writeHead(200, { 'content-type': 'text/html' })
        .end('<!doctype html><script type="module" src="/page.js"></script>'),
    '/page.js': (response) => response.writeHead(200, { 'content-type': 'text/javascript' }).end(script),
    '/favicon.ico': (response) => response.writeHead(404).end(),
  }

  /** Calls a server from a page of its own. */
  async function callFrom({ origin }: ScriptedServer, library: string, isForm = false): Promise<PageCall> {
    const page = await browser.newPage()
    onTestFinished(() => page.close())
    await page.goto(origin)
    await page.waitForFunction(() => 'call' in globalThis)
    return await page.evaluate(
      async ([name, form]) =>
        await (globalThis as unknown as { call: (...given: unknown[]) => Promise<PageCall> }).call(
          name,
          '/charges',
          form,
        ),
      [library, isForm] as const,
    )
  }

  const libraries = ['axios', 'axios (xhr)', 'ky', 'openapi-fetch']

  describe.each(libraries)('%s', (library) => {
    test.each([false, true])('one key and the same octets in every attempt (a form: %s)', async (isForm) => {
      const server = await scripted(pages, answers(503), cut, answers(201))
      expect(await callFrom(server, library, isForm)).toEqual({ status: 201, attempts: 3 })
      const sent = server.received.map(({ headers, body }) =>
        JSON.stringify([headers['idempotency-key'], headers['content-type'], body.toString('latin1')]),
      )
      expect(sent).toHaveLength(3)
      expect(new Set(sent).size).toBe(1)
      expect(server.received[0]?.headers['idempotency-key']).toMatch(/^"[\da-f-]{36}"$/)
      expect(server.received[0]?.body.toString()).toContain('100')
    })

    // XMLHttpRequest follows by itself.
    test.runIf(library !== 'axios (xhr)')('no key follows a redirect', async () => {
      const cors: Step = (response) =>
        response
          .writeHead(200, {
            'access-control-allow-origin': '*',
            'access-control-allow-headers': '*, idempotency-key, content-type',
          })
          .end('{}')
      const other = await scripted(cors)
      const server = await scripted(pages, redirects(307, `${other.origin}/charges`))
      expect(await callFrom(server, library)).toEqual({ code: 'outcome-unknown', reason: 'redirect' })
      expect([server.received.length, other.received.length]).toEqual([1, 0])
    })
  })

  test.each(['axios', 'ky'])('%s follows a redirect of a call without a key', async (library) => {
    const server = await scripted(pages, redirects(303, '/charges/1'), answers(200))
    expect(await callFrom(server, `${library} (no key)`)).toEqual({ status: 200, attempts: 1 })
    expect(server.received.map(({ method }) => method)).toEqual(['POST', 'GET'])
  })

  test('the referrer policy of a Request stays', async () => {
    const server = await scripted(pages, answers(503), answers(201))
    expect(await callFrom(server, 'fetch (a Request)')).toEqual({ status: 201, attempts: 2 })
    for (const { headers } of server.received) expect(headers).not.toHaveProperty('referer')
  })
})
