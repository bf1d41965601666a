/**
 * Runs the conformance cases against a server in any language and prints one line a case.
 *
 *     npx node test/http/conformance/run.ts --url http://127.0.0.1:4000 --caps do,auth,get,optional,lenient
 *     npx node test/http/conformance/run.ts --command 'python3 server.py' --caps do,auth,kill,lease1s,crash-reject
 *
 * Options: --url, --url2, --url-h2 (a running target) or --command (started and restarted here, see launch.ts);
 * --caps a,b; --var name=value (again for more; statuses `409,422`, `marker=null`, `codes=true`); --tier and
 * --case (again for more). Ends with 1 when a case failed, 2 when the command line is wrong.
 */
import { parseArgs } from 'node:util'
import { applicable, loadCases, runCase, variablesOf } from './harness.ts'
import { launchTarget } from './launch.ts'
import type { StartedTarget } from './suite.ts'
import { lackingAddress, parseCapabilities } from './target.ts'
import type { TargetDeclaration, TargetVariables, Tier } from './target.ts'

const tiers: readonly Tier[] = ['core', 'profile', 'option']

/** The words of a command line, understood. */
export interface RunOptions {
  readonly declared: TargetDeclaration
  readonly cases: readonly string[]
  readonly command?: string
  readonly addresses?: { readonly url: string; readonly url2?: string; readonly urlH2?: string }
}

/** Reads a command line. Throws a `RangeError` or `TypeError` that names the option, the rule and the value. */
export function parseRunOptions(words: readonly string[]): RunOptions {
  const { values } = parseArgs({
    args: [...words],
    options: {
      url: { type: 'string' },
      url2: { type: 'string' },
      'url-h2': { type: 'string' },
      command: { type: 'string' },
      caps: { type: 'string', default: '' },
      var: { type: 'string', multiple: true, default: [] },
      tier: { type: 'string', multiple: true, default: [] },
      case: { type: 'string', multiple: true, default: [] },
    },
  })
  const known = new Set(loadCases().map(({ id }) => id))
  for (const id of values.case) {
    if (!known.has(id)) throw new RangeError(`--case must be the id of a case, got "${id}"`)
  }
  const declared: TargetDeclaration = {
    caps: parseCapabilities(values.caps),
    vars: Object.fromEntries(values.var.map(parseVariable)),
    ...(values.tier.length === 0 ? {} : { tiers: values.tier.map(parseTier) }),
  }
  if ((values.url === undefined) === (values.command === undefined)) {
    throw new TypeError('exactly one of --url and --command is needed')
  }
  for (const url of [values.url, values.url2]) {
    if (url !== undefined && URL.parse(url)?.protocol !== 'http:') {
      throw new RangeError(`--url must be an http: origin, got "${url}"`)
    }
  }
  if (values.url === undefined) return { declared, cases: values.case, command: values.command ?? '' }
  const addresses = {
    url: values.url,
    ...(values.url2 === undefined ? {} : { url2: values.url2 }),
    ...(values['url-h2'] === undefined ? {} : { urlH2: values['url-h2'] }),
  }
  return { declared, cases: values.case, addresses }
}

function parseTier(word: string): Tier {
  const tier = tiers.find((each) => each === word)
  if (tier === undefined) throw new RangeError(`--tier must be one of ${tiers.join(', ')}, got "${word}"`)
  return tier
}

function parseVariable(text: string): [keyof TargetVariables, string | boolean | null] {
  const [name = '', value = ''] = text.split(/=(.*)/s)
  const defaults = variablesOf({ caps: [] })
  if (!Object.hasOwn(defaults, name)) {
    throw new RangeError(`--var must name one of ${Object.keys(defaults).join(', ')}, got "${text}"`)
  }
  if (name === 'marker') return [name, value === 'null' ? null : value]
  if (name === 'codes') return [name, value === 'true']
  if (!/^[1-5][0-9]{2}(,[1-5][0-9]{2})*$/.test(value))
    throw new RangeError(`--var ${name} must be statuses, got "${value}"`)
  return [name as keyof TargetVariables, value]
}

/** Runs what `options` ask for and gives the exit code. */
export async function run(options: RunOptions, print: (line: string) => void): Promise<number> {
  const { declared, addresses, command } = options
  const target: StartedTarget =
    addresses === undefined
      ? await launchTarget({ command: command ?? '', declared })
      : { ...addresses, close: () => Promise.resolve() }
  const counts = { passed: 0, failed: 0, notApplicable: 0 }
  try {
    const lacking = lackingAddress(declared, target)
    if (lacking !== undefined)
      throw new TypeError(`${lacking}${lacking.includes('kill') ? ' (--command gives one)' : ''}`)
    for (const entry of loadCases()) {
      if (options.cases.length > 0 && !options.cases.includes(entry.id)) continue
      const title = `${entry.id} ${entry.tier.padEnd(7)} ${entry.t}`
      const reason = applicable(entry, declared)
      if (reason !== undefined) {
        counts.notApplicable += 1
        print(`-    ${title} (not applicable: ${reason})`)
        continue
      }
      const { failures } = await runCase(entry, { ...declared, ...target, name: target.url })
      counts[failures.length === 0 ? 'passed' : 'failed'] += 1
      print(`${failures.length === 0 ? 'pass' : 'FAIL'} ${title}`)
      for (const failure of failures) print(`       ${failure}`)
    }
  } finally {
    await target.close()
  }
  print(`${counts.passed} passed, ${counts.failed} failed, ${counts.notApplicable} not applicable`)
  return counts.failed === 0 ? 0 : 1
}

if (process.argv[1] === import.meta.filename) {
  process.once('SIGINT', () => process.exit(130))
  process.once('SIGTERM', () => process.exit(143))
  try {
    process.exitCode = await run(parseRunOptions(process.argv.slice(2)), (line) => console.log(line))
  } catch (error) {
    console.error((error as Error).message)
    process.exitCode = 2
  }
}
