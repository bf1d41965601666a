import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ConformanceCase } from './cases.ts'
import { applicable, loadCases, runCase } from './harness.ts'
import { whileTimeIsKept } from '../../stalls.ts'
import { lackingAddress } from './target.ts'
import type { TargetAddresses, TargetDeclaration } from './target.ts'

const caseTimeoutMs = 60_000
const startTimeoutMs = 60_000

/** A started target and the way to end it. */
export interface StartedTarget extends TargetAddresses {
  close(): Promise<void>
}

/**
 * Registers one `describe` with one test per conformance case. `declared` decides, before anything runs, which
 * cases apply; the others are skipped with the reason in their title. `start` is called once for all of them.
 *
 * @example
 * httpConformance('express 5 on memory', { caps: ['do', 'auth', 'get', 'optional', 'lenient'] }, async () => {
 *   const server = app.listen(0, '127.0.0.1')
 *   await once(server, 'listening')
 *   return { url: `http://127.0.0.1:${server.address().port}`, close: () => closeServer(server) }
 * })
 */
export function httpConformance(
  name: string,
  declared: TargetDeclaration,
  start: () => Promise<StartedTarget>,
  isAsked: (entry: ConformanceCase) => boolean = () => true,
): void {
  describe(`HTTP conformance: ${name}`, () => {
    let started: StartedTarget | undefined
    beforeAll(async () => {
      started = await start()
      const lacking = lackingAddress(declared, started)
      if (lacking !== undefined) throw new TypeError(`${name}: ${lacking}`)
    }, startTimeoutMs)
    afterAll(() => started?.close(), startTimeoutMs)

    for (const entry of loadCases().filter(isAsked)) {
      const title = `${entry.id} (${entry.tier}) ${entry.t}`
      const reason = applicable(entry, declared)
      if (reason !== undefined) {
        test.skip(`${title} [not applicable: ${reason}]`, () => undefined)
        continue
      }
      test(title, { timeout: caseTimeoutMs }, async () => {
        if (started === undefined) throw new Error('the target did not start')
        const target = { ...declared, ...pickAddresses(started), name }
        const attempt = async (): Promise<void> => {
          const result = await runCase(entry, target)
          expect(result.failures).toEqual([])
        }
        await (countsOnTime(entry) ? whileTimeIsKept(attempt) : attempt())
      })
    }
  })
}

/** Whether the steps of a case happen at times of their own. */
function countsOnTime({ s }: ConformanceCase): boolean {
  return s.some(({ at, ctl, do: act }) => at !== undefined || ctl === 'sleep' || act?.includes('delay='))
}

function pickAddresses(started: StartedTarget): TargetAddresses {
  const { url, url2, urlH2 } = started
  return {
    url,
    ...(url2 === undefined ? {} : { url2 }),
    ...(urlH2 === undefined ? {} : { urlH2 }),
    ...(started.restart === undefined ? {} : { restart: () => started.restart?.() ?? Promise.resolve() }),
  }
}
