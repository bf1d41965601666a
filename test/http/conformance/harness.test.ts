import { afterAll, describe, expect, test } from 'vitest'
import { whileTimeIsKept } from '../../stalls.ts'
import { parseCases } from './cases.ts'
import { loadCases, runCase } from './harness.ts'
import { launchTarget } from './launch.ts'
import type { ReferenceOptions } from './reference-layer.ts'
import type { Fault } from './reference-request.ts'
import { startReference } from './reference-server.ts'
import { parseRunOptions, run } from './run.ts'
import { httpConformance } from './suite.ts'
import type { StartedTarget } from './suite.ts'
import { capabilities, parseCapabilities } from './target.ts'
import type { TargetDeclaration, TargetDescription } from './target.ts'

interface Setting {
  readonly declared: TargetDeclaration
  /** The capability that a case must need to be run in this setting. Default: all cases are run. */
  readonly only?: string
  start(fault?: Fault): Promise<StartedTarget>
}

/** Leaves out what the usual setting shows already, because many cases last as long as the delays they ask for. */
function allBut(capability: string): Readonly<Record<string, string>> {
  const others = loadCases().filter(({ needs = [] }) => !needs.includes(capability))
  return Object.fromEntries(others.map(({ id }) => [id, 'run in the usual setting']))
}

function inProcess(options: ReferenceOptions, caps: string, only?: string): Setting {
  return {
    ...(only === undefined ? {} : { only }),
    declared: { caps: parseCapabilities(caps), vars: { codes: true } },
    start: (fault) => startReference({ ...options, ...(fault === undefined ? {} : { fault }) }),
  }
}

function asProcess(caps: string): Setting {
  const declared: TargetDeclaration = { caps: parseCapabilities(caps), vars: { codes: true } }
  const command = `exec "${process.execPath}" "${import.meta.dirname}/reference-process.ts"`
  return {
    declared,
    only: 'kill',
    start: (fault) =>
      launchTarget({
        command,
        declared,
        ...(fault === undefined ? {} : { environment: { REFERENCE_FAULT: fault } }),
      }),
  }
}

const settings = {
  usual: inProcess(
    {},
    'do,auth,get,patch,put,route2,cors,optional,lenient,json,multipart,reject,store4xx,release5xx,ttl2s,expirenew,lease1s,two,storedown,h2',
  ),
  strict: inProcess(
    { required: true, strict: true, tombstones: true, store5xx: true, resultOctetsMax: 1_000_000 },
    'do,auth,required,strict,json,reject,store4xx,store5xx,ttl2s,tomb,limit',
  ),
  gateway: inProcess({ gateway: true }, 'do,auth,get,optional,reject,gateway', 'gateway'),
  rerun: asProcess('do,auth,get,optional,kill,lease1s,crash-rerun'),
  reject: asProcess('do,auth,get,optional,kill,lease1s,crash-reject'),
  transaction: asProcess('do,auth,get,optional,kill,transaction'),
} satisfies Record<string, Setting>

/** Each fault, the setting in which it shows, and the cases that must notice it. */
const faults: readonly (readonly [fault: Fault, setting: keyof typeof settings, ...cases: string[]])[] = [
  ['one-record', 'usual', 'B03'],
  ['key-from-body', 'usual', 'B04'],
  ['not-required', 'strict', 'B05', 'P01', 'L04'],
  ['no-marker', 'usual', 'B06', 'R01'],
  ['always-marker', 'usual', 'B06', 'S01'],
  ['exact-field-name', 'usual', 'B07'],
  ['bare-apart', 'usual', 'K01'],
  ['empty-key', 'usual', 'K03'],
  ['blank-is-absent', 'usual', 'K04'],
  ['lax-escapes', 'usual', 'K06'],
  ['escapes-fail', 'usual', 'K07'],
  ['any-octets', 'usual', 'K08'],
  ['parameters-in-key', 'usual', 'K11'],
  ['folds-case', 'usual', 'K12'],
  ['forgets', 'usual', 'K13', 'B06', 'L05', 'C01', 'V05', 'R03', 'R09'],
  ['no-mismatch', 'usual', 'M02', 'M06', 'M07', 'J03', 'J04', 'J05', 'J07', 'J10'],
  ['mismatch-overwrites', 'usual', 'M02'],
  ['key-in-errors', 'usual', 'M02', 'M06'],
  ['any-route', 'usual', 'M05'],
  ['ignores-query', 'usual', 'M06'],
  ['ignores-media-type', 'usual', 'M07'],
  ['user-agent-counts', 'usual', 'M08'],
  ['token-is-principal', 'usual', 'M09'],
  ['framing-counts', 'usual', 'M10'],
  ['octets', 'usual', 'J01', 'J02'],
  ['drops-null', 'usual', 'J03'],
  ['sorts-arrays', 'usual', 'J04'],
  ['float-json', 'usual', 'J05'],
  ['normalizes', 'usual', 'J07'],
  ['charset-counts', 'usual', 'J09'],
  ['octets-multipart', 'usual', 'J10'],
  ['ignores-filename', 'usual', 'J10'],
  ['slow-claim', 'usual', 'C01'],
  ['stores-refusal', 'usual', 'C02'],
  ['no-retry-after', 'usual', 'C03'],
  ['plain-errors', 'usual', 'C03', 'X07'],
  ['wrong-problem-status', 'usual', 'C03'],
  ['wrong-code', 'usual', 'C03'],
  ['split-stores', 'usual', 'C07'],
  ['stuck-after-failure', 'usual', 'C08', 'R03'],
  ['completion-gap', 'usual', 'C09'],
  ['drops-4xx', 'usual', 'R01'],
  ['stores-5xx', 'usual', 'R03'],
  ['drops-5xx', 'strict', 'R04'],
  ['stores-429', 'usual', 'R05'],
  ['replays-as-200', 'usual', 'R08', 'B06'],
  ['utf8-body', 'usual', 'R09'],
  ['replays-set-cookie', 'usual', 'H01'],
  ['drops-cookies', 'usual', 'H01'],
  ['drops-app-fields', 'usual', 'H01'],
  ['both-framings', 'usual', 'H03', 'B06'],
  ['excess-octets', 'usual', 'H03', 'B06'],
  ['stored-cors', 'usual', 'H05'],
  ['no-preflight', 'usual', 'H06'],
  ['guards-get', 'usual', 'V01'],
  ['patch-unguarded', 'usual', 'V03'],
  ['empty-body-unguarded', 'usual', 'V05'],
  ['never-expires', 'usual', 'T01'],
  ['never-expires', 'strict', 'T02'],
  ['no-renewal', 'usual', 'T05'],
  ['abort-releases', 'usual', 'X01'],
  ['crash-locks', 'rerun', 'X04'],
  ['crash-reruns', 'reject', 'X05'],
  ['restart-forgets', 'reject', 'X06'],
  ['effect-apart', 'transaction', 'X08'],
  ['claim-apart', 'transaction', 'X08'],
  ['fails-open', 'usual', 'X07'],
  ['no-principal', 'usual', 'S01', 'S02'],
  ['joined-scope', 'usual', 'S04'],
  ['plain-errors', 'strict', 'P01'],
  ['cuts-large', 'strict', 'L01'],
  ['drops-large', 'strict', 'L01'],
  ['continues-early', 'strict', 'L04'],
  ['refuses-expect', 'usual', 'L05'],
  ['resends', 'gateway', 'G02'],
  ['takes-early-data', 'gateway', 'G03'],
  ['http2-apart', 'usual', 'G04'],
]

for (const [name, { declared, only, start }] of Object.entries<Setting>(settings)) {
  const skip = only === undefined ? {} : allBut(only)
  httpConformance(`reference server, ${name}`, { ...declared, skip }, () => start())
}

/** Faults that a case meets at a moment of milliseconds: one run may miss them on a machine that kept time. */
const momentary: ReadonlySet<Fault> = new Set(['completion-gap'])
const runsOfMomentary = 10

async function failuresOf(id: string, fault: Fault, target: TargetDescription): Promise<readonly string[]> {
  for (let runs = momentary.has(fault) ? runsOfMomentary : 1; ; runs--) {
    const { failures } = await runCase(caseOf(id), target)
    if (failures.length > 0 || runs === 1) return failures
  }
}

describe('a broken server is noticed', () => {
  for (const [fault, setting, ...ids] of faults) {
    test(`${fault} fails ${ids.join(', ')}`, { timeout: 60_000 }, async () => {
      const { declared, start } = settings[setting]
      const target = await start(fault)
      try {
        for (const id of ids) {
          await whileTimeIsKept(async () => {
            const failures = await failuresOf(id, fault, { ...declared, ...target, name: fault })
            expect(failures, id).not.toEqual([])
          })
        }
      } finally {
        await target.close()
      }
    })
  }

  test('every case has a fault that it notices', () => {
    const covered = new Set(faults.flatMap(([, , ...ids]) => ids))
    expect(loadCases().filter(({ id }) => !covered.has(id))).toEqual([])
  })

  test('an unreachable server fails', async () => {
    const target = await settings.usual.start()
    await target.close()
    const { failures } = await runCase(caseOf('B03'), {
      ...settings.usual.declared,
      ...target,
      name: 'closed',
    })
    expect(failures).toEqual([expect.stringContaining('effects cannot be counted')])
  })
})

describe('the case file', () => {
  test('names only capabilities that a target can declare', () => {
    const known = new Set<string>(capabilities)
    const unknown = loadCases().flatMap(({ needs = [] }) =>
      needs.filter((capability) => !known.has(capability)),
    )
    expect(unknown).toEqual([])
  })

  test('refuses a member outside the language', () => {
    const text = 'bodies: {}\ncases: [{id: Q1, tier: core, t: q, fx: 0, s: [{k: A, x: {status: 201}}]}]'
    expect(() => parseCases(text)).toThrow('Q1 step 1: member "status" is not part of the language')
  })

  test('refuses a body that is not named', () => {
    const text = 'bodies: {}\ncases: [{id: Q1, tier: core, t: q, fx: 0, s: [{b: Q}]}]'
    expect(() => parseCases(text)).toThrow('Q1 step 1: body "Q"')
  })
})

describe('the command line', () => {
  const started: StartedTarget[] = []
  afterAll(() => Promise.all(started.map((target) => target.close())))

  test('prints one line a case and ends with 0 when all pass', async () => {
    const target = await settings.usual.start()
    started.push(target)
    const lines: string[] = []
    const words = ['--url', target.url, '--caps', 'do,auth,get,optional', '--case', 'B03', '--case', 'B05']
    expect(await run(parseRunOptions(words), (line) => lines.push(line))).toBe(0)
    expect(lines).toEqual([
      'pass B03 core    two keys with one payload are two operations',
      '-    B05 core    missing key on an operation that requires it (not applicable: needs required)',
      '1 passed, 0 failed, 1 not applicable',
    ])
  })

  test('prints why a case failed and ends with 1', async () => {
    const target = await settings.usual.start('no-mismatch')
    started.push(target)
    const lines: string[] = []
    const words = ['--url', target.url, '--caps', 'auth,get', '--case', 'J03', '--var', 'mismatch=409,422']
    expect(await run(parseRunOptions(words), (line) => lines.push(line))).toBe(1)
    expect(lines[1]).toBe('       step 2: status 201, expected 409 or 422')
  })

  test('starts a command and can kill it', { timeout: 60_000 }, async () => {
    const command = `exec "${process.execPath}" "${import.meta.dirname}/reference-process.ts"`
    const lines: string[] = []
    const words = ['--command', command, '--caps', 'do,auth,get,optional,kill', '--case', 'X06']
    expect(await run(parseRunOptions(words), (line) => lines.push(line))).toBe(0)
    expect(lines.at(-1)).toBe('1 passed, 0 failed, 0 not applicable')
  })

  test('tells that a command ended', async () => {
    const options = parseRunOptions(['--command', 'exit 3', '--caps', 'do'])
    await expect(run(options, () => undefined)).rejects.toThrow('the target ended with 3 before it listened')
  })

  test('tells what a capability needs', async () => {
    const options = parseRunOptions(['--url', 'http://127.0.0.1:1', '--caps', 'two'])
    await expect(run(options, () => undefined)).rejects.toThrow('capability "two" needs url2')
  })

  test.each([
    [['--url', 'http://127.0.0.1:1', '--caps', 'doo'], 'Capability "doo"'],
    [['--url', 'http://127.0.0.1:1', '--case', 'Q99'], '--case must be'],
    [['--url', 'http://127.0.0.1:1', '--var', 'colour=1'], '--var must name'],
    [['--url', 'http://127.0.0.1:1', '--var', 'unknown=no'], '--var unknown must be statuses'],
    [['--url', 'http://127.0.0.1:1', '--tier', 'best'], '--tier must be'],
    [['--url', 'https://127.0.0.1:1'], '--url must be an http: origin'],
    [['--caps', 'do'], 'exactly one of --url and --command'],
  ])('%j is refused', (words, message) => {
    expect(() => parseRunOptions(words)).toThrow(message)
  })
})

function caseOf(id: string): ReturnType<typeof loadCases>[number] {
  const entry = loadCases().find((each) => each.id === id)
  if (entry === undefined) throw new RangeError(`no case ${id}`)
  return entry
}
