/** A run whose worker processes end by themselves says so, and does not wait for them for ever. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { runStoreChaos } from '../../src/cli/chaos/run.ts'

/** A run on workers of this program; `options`, `command` and `tell` are there for it. */
async function runOf(onStart: string, onCommand: string): Promise<unknown> {
  const folder = mkdtempSync(join(tmpdir(), 'retrysafe-chaos-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const workerFile = join(folder, 'worker.mjs')
  writeFileSync(
    workerFile,
    `
    import { createInterface } from 'node:readline'
    import { writeSync } from 'node:fs'
    const options = JSON.parse(process.env.RETRYSAFE_CHAOS_WORKER)
    const tell = (event) =>
      writeSync(1, JSON.stringify({ say: 'event', mode: 'rerun', event: { at: 0, ...event } }) + '\\n')
    createInterface({ input: process.stdin }).on('line', (line) => {
      const command = JSON.parse(line)
      ${onCommand}
      if (command.do === 'end') process.exit()
    })
    ${onStart}`,
  )
  return await runStoreChaos({
    dialect: 'sqlite',
    address: join(folder, 'shop.db'),
    modes: ['rerun'],
    seed: 1,
    goesOn: () => false,
    workerFile,
  })
}

test('workers that end while nothing is asked', async () => {
  await expect(runOf('process.exit()', '')).rejects.toThrow('All workers have ended.')
})

const asksOnce = `
  if (options.lanes > 0)
    for (let call = options.callsFrom + 1; call <= options.callsFrom + 60; call++) {
      tell({ type: 'invoke', call, process: options.name, principal: 'alice', key: 'key-' + call, request: 'same' })
      tell({ type: 'ok', call, value: 'v', replayed: false })
    }`

test('the process that asks once more, before and after it said that it asks', async () => {
  const atOnce = runOf(asksOnce, `if (command.do === 'ask') process.exit()`)
  await expect(atOnce).rejects.toThrow('asks for every key once more has ended')
  const invoked = `if (command.do === 'ask') {
    tell({ type: 'invoke', call: options.callsFrom + 1, process: options.name, ...command })
    process.exit()
  }`
  await expect(runOf(asksOnce, invoked)).rejects.toThrow('asks for every key once more has ended')
})
