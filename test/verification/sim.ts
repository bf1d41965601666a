/**
 * The simulator from a terminal.
 *
 *   npm run sim                                     20,000 seeds of each mode
 *   npm run sim -- --mode hold --seeds 100000       more of one
 *   npm run sim -- --seconds 60                     fresh seeds, for so long in each mode
 *   SEED=11 npm run sim -- --mode rerun             one run with its whole story; shrunk, where it fails
 *   npm run sim -- --walk 2                         every two faults at every point
 *
 * Each mode is named with the store that it is about. Fast tiers in front of a store have runs of their own, in
 * `test/verification/tiered-simulator.test.ts`.
 *
 * Exit code 1 where a promise is broken, or where the runs together never reached what they should.
 */
import { spawnSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import {
  explore,
  shrink,
  type SimModeName,
  simModeNames,
  simModes,
  simulate,
  walk,
} from '../../src/verification/simulator/index.ts'

const elsewhere =
  'tiers in front of the store, in six of these modes: npx vitest run test/verification/tiered-simulator.test.ts'

const { values } = parseArgs({
  options: {
    mode: { type: 'string' },
    seeds: { type: 'string', default: '20000' },
    from: { type: 'string', default: '1' },
    seconds: { type: 'string' },
    walk: { type: 'string' },
    hashes: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    'stop-at': { type: 'string', default: '3' },
  },
})

const modes = simModeNames.filter((mode) => values.mode === undefined || mode === values.mode)
if (modes.length === 0) {
  console.error(`--mode is one of: ${simModeNames.join(', ')}`)
  process.exit(2)
}
const seeds = Number(values.seeds)
let failed = false

const commit = spawnSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).stdout?.trim()
if (!values.json && !values.hashes) console.log(`commit ${commit === '' ? 'unknown' : commit}`)

if (values.hashes) await printHashes()
else if (process.env['SEED'] !== undefined) await tellSeed(Number(process.env['SEED']))
else if (values.walk !== undefined) await walkAll(Number(values.walk))
else await exploreAll()
if (!values.json && !values.hashes && values.mode === undefined) console.log(elsewhere)
process.exitCode = failed ? 1 : 0

async function exploreAll(): Promise<void> {
  const until = values.seconds === undefined ? undefined : Number(values.seconds)
  const from = until === undefined ? Number(values.from) : Math.floor(Date.now() / 1_000)
  for (const mode of modes) {
    const startedAt = performance.now()
    const end = await explore({
      mode,
      from,
      seeds: until === undefined ? seeds : Number.MAX_SAFE_INTEGER,
      goesOn: (found) =>
        found < Number(values['stop-at']) &&
        (until === undefined || performance.now() - startedAt < until * 1_000),
    })
    failed ||= end.found.length > 0 || end.neverReached.length > 0
    if (values.json) {
      console.log(JSON.stringify({ mode, from, ...end }))
      continue
    }
    const rate = Math.round(end.seeds / end.seconds)
    console.log(
      `${mode} (${simModes[mode].about})\n  seeds ${from} to ${from + end.seeds - 1}, ${rate} a second, ${end.calls} calls, ` +
        `${end.hours.toFixed(1)} virtual hours, ${end.found.length} violations`,
    )
    console.log(
      `  ${Object.entries(end.sights)
        .map(([sight, count]) => `${sight} ${count}`)
        .join(', ')}`,
    )
    if (end.neverReached.length > 0) console.log(`  never reached: ${end.neverReached.join(', ')}`)
    for (const { seed, violations } of end.found) {
      for (const { invariant, says } of violations) console.log(`  seed ${seed}: ${invariant} ${says}`)
      console.log(`  SEED=${seed} npm run sim -- --mode ${mode}`)
    }
  }
}

async function tellSeed(seed: number): Promise<void> {
  for (const mode of modes) {
    const run = await simulate({ mode, seed, story: true })
    console.log(`mode ${mode}, seed ${seed}, trace ${run.traceHash}, ${run.decisions.length} decisions`)
    const [violation] = run.report.violations
    if (violation === undefined) {
      console.log(run.story.join('\n'))
      console.log('no violation')
      continue
    }
    failed = true
    const { invariant } = violation
    const { decisions, runs } = await shrink({
      mode,
      seed,
      decisions: run.decisions,
      breaks: ({ violations }) => violations.some((one) => one.invariant === invariant),
    })
    const small = await simulate({ mode, seed, decisions, story: true })
    const kept = decisions.filter((choice) => choice !== 0).length
    console.log(`shrunk to ${kept} decisions that are not the quiet choice, in ${runs} runs`)
    console.log(small.story.join('\n'))
    for (const { says, invariant: broken } of small.report.violations) console.log(`${broken} ${says}`)
  }
}

async function walkAll(depth: number): Promise<void> {
  for (const mode of modes) {
    const { runs, points, found } = await walk({ mode, depth })
    failed ||= found.length > 0
    console.log(
      `${mode}: ${runs} runs, ${Object.keys(points).length} kinds of points, ${found.length} violations`,
    )
    for (const { faults, violations } of found.slice(0, Number(values['stop-at']))) {
      console.log(
        `  ${faults.join(' and ')}: ${violations.map(({ invariant, says }) => `${invariant} ${says}`).join('; ')}`,
      )
    }
  }
}

/** One line for each seed: equal in two processes, or the simulator is not deterministic. */
async function printHashes(): Promise<void> {
  for (const mode of modes as readonly SimModeName[]) {
    for (let seed = 1; seed <= seeds; seed++)
      console.log(mode, seed, (await simulate({ mode, seed })).traceHash)
  }
}
