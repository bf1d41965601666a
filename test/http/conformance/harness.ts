import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { loadCases, loadFile } from './cases.ts'
import type { ConformanceCase, Step } from './cases.ts'
import { sendHttp1, sendHttp2 } from './client.ts'
import type { Exchange, WireRequest } from './client.ts'
import { answerOf, failuresOf, idOf } from './expectations.ts'
import type { RunStep } from './expectations.ts'
import { KeySymbols, probeRequest, requestOfStep } from './requests.ts'
import type { RequestContext } from './requests.ts'
import type { TargetDeclaration, TargetDescription, TargetVariables } from './target.ts'

export { loadCases }
export type { ConformanceCase }

/** The end of one case; no failures means that the target passed. */
export interface CaseResult {
  readonly id: string
  readonly failures: string[]
}

/**
 * Why `entry` is not run against a target, or `undefined` when it is. Reads the declaration alone, so a suite can
 * be laid out before its target runs.
 */
export function applicable(entry: ConformanceCase, target: TargetDeclaration): string | undefined {
  const reason = target.skip?.[entry.id]
  if (reason !== undefined) return reason
  if (target.tiers !== undefined && !target.tiers.includes(entry.tier))
    return `tier ${entry.tier} is not asked for`
  // Raw header lines are what this client writes, so no target has to offer them.
  const declared = new Set<string>([...target.caps, 'raw'])
  const lacking = (entry.needs ?? []).filter((capability) => !declared.has(capability))
  return lacking.length === 0 ? undefined : `needs ${lacking.join(', ')}`
}

/** The target's variables, with the defaults of `cases.yaml` where it sets none. */
export function variablesOf(target: TargetDeclaration): TargetVariables {
  return { ...loadFile().vars, ...target.vars }
}

/**
 * Runs one case against a running target and tells what is wrong. Never rejects: a target that cannot be reached
 * is a failure. Cases share the target's counter, so run them one after another.
 *
 * @example
 * const target = { name: 'mine', url: 'http://127.0.0.1:4000', caps: ['do', 'auth'] as const }
 * for (const entry of loadCases()) {
 *   if (applicable(entry, target) === undefined) console.log(await runCase(entry, target))
 * }
 */
export async function runCase(entry: ConformanceCase, target: TargetDescription): Promise<CaseResult> {
  const failures: string[] = []
  try {
    const before = await countEffects(target)
    const runs = await runSteps(entry, target)
    failures.push(...failuresOf(runs, variablesOf(target)))
    const after = await countEffects(target)
    const effects = after.count - before.count - after.own
    const accepted = [entry.fx].flat()
    if (!accepted.includes(effects)) failures.push(`${effects} effects, expected ${accepted.join(' or ')}`)
  } catch (error) {
    failures.push((error as Error).message)
  }
  return { id: entry.id, failures }
}

async function runSteps(entry: ConformanceCase, target: TargetDescription): Promise<RunStep[]> {
  const runs: RunStep[] = []
  const symbols = new KeySymbols()
  const context = {
    symbols,
    bodies: loadFile().bodies,
    idOfStep: (number: number) => idOf(answerOf(runs[number - 1])),
  }
  const lowered = new Set<string>()
  const running: Promise<void>[] = []
  let previousStartedAt = performance.now()
  try {
    for (const [index, step] of entry.s.entries()) {
      if (step.at === undefined) await Promise.all(running)
      else await delay(Math.max(0, previousStartedAt + step.at - performance.now()))
      previousStartedAt = performance.now()
      if (step.ctl === undefined) {
        running.push(runRequest(step, context, target).then((run) => void (runs[index] = run)))
      } else {
        await control(step, step.ctl, target, lowered)
        runs[index] = { step, exchanges: [], keys: [] }
      }
    }
    await Promise.all(running)
  } finally {
    // A case that broke off must not leave the store or the upstream down for the next one.
    for (const part of lowered) await act(target, `${part}-up`).catch(() => undefined)
  }
  return runs
}

async function runRequest(step: Step, context: RequestContext, target: TargetDescription): Promise<RunStep> {
  const request = requestOfStep(step, context)
  const copies = Array.from({ length: step.par ?? 1 }, () => send(step, request, target))
  const keys = context.symbols.usedIn(request.headers)
  return { step, request, exchanges: await Promise.all(copies), keys }
}

function send(step: Step, request: WireRequest, target: TargetDescription): Promise<Exchange> {
  const member = step.http === 2 ? 'urlH2' : step.inst === 2 ? 'url2' : 'url'
  const origin = target[member]
  if (origin === undefined || origin === '') {
    return Promise.resolve({
      kind: 'failed',
      reason: `the target declares the capability but has no ${member}`,
    })
  }
  return step.http === 2 ? sendHttp2(origin, request) : sendHttp1(origin, request)
}

async function control(
  step: Step,
  action: string,
  target: TargetDescription,
  lowered: Set<string>,
): Promise<void> {
  const part = /^(store|upstream)-(down|up)$/.exec(action)
  if (action === 'sleep') {
    await delay(step.ms ?? 0)
  } else if (action === 'restart') {
    if (target.restart === undefined)
      throw new TypeError('The target declares kill but has no restart function')
    await target.restart()
  } else if (part?.[1] !== undefined) {
    if (part[2] === 'down') lowered.add(part[1])
    else lowered.delete(part[1])
    await act(target, action)
  } else {
    throw new TypeError(`Unknown harness action "${action}"`)
  }
}

async function act(target: TargetDescription, action: string): Promise<void> {
  const exchange = await sendHttp1(target.url, {
    method: 'POST',
    target: `/_ctl/${action}`,
    headers: [['Accept', '*/*']],
    body: Buffer.alloc(0),
  })
  if (exchange.kind !== 'answer' || exchange.answer.status >= 300) {
    throw new Error(`POST /_ctl/${action} ${describe(exchange)}`)
  }
}

/** `own` is how many effects the count itself caused since the count before it. */
async function countEffects(target: TargetDescription): Promise<{ count: number; own: number }> {
  const reads = target.caps.includes('get')
  const read = {
    method: 'GET',
    target: '/effects',
    headers: [['Accept', '*/*']] as const,
    body: Buffer.alloc(0),
  }
  const exchange = await sendHttp1(target.url, reads ? read : probeRequest())
  const count =
    exchange.kind === 'answer' ? numberIn(exchange.answer.body, reads ? 'count' : 'seq') : undefined
  if (count === undefined) {
    throw new Error(
      `effects cannot be counted: ${reads ? 'GET /effects' : 'the probe'} ${describe(exchange)}`,
    )
  }
  return { count, own: reads ? 0 : 1 }
}

function numberIn(body: Buffer, member: string): number | undefined {
  try {
    const value: unknown = (JSON.parse(body.toString('utf8')) as Record<string, unknown>)[member]
    return typeof value === 'number' ? value : undefined
  } catch {
    return undefined
  }
}

function describe(exchange: Exchange): string {
  switch (exchange.kind) {
    case 'answer':
      return `answered ${exchange.answer.status} ${exchange.answer.body.toString('utf8', 0, 80)}`
    case 'aborted':
      return 'was aborted'
    case 'failed':
      return `got no answer: ${exchange.reason}`
    default: {
      const never: never = exchange
      return never
    }
  }
}
