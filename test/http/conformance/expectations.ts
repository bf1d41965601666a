import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib'
import { acceptedStatuses } from './cases.ts'
import type { Expectation, Step } from './cases.ts'
import type { Answer, Exchange, WireRequest } from './client.ts'
import { headerValues } from './response-reader.ts'
import type { TargetVariables } from './target.ts'

/** A step that was run: what was sent and how each copy ended. Steps of the harness (`ctl`) have no copies. */
export interface RunStep {
  readonly step: Step
  readonly request?: WireRequest
  readonly exchanges: readonly Exchange[]
  /** UUIDs of the key symbols that the request carried. */
  readonly keys: readonly string[]
}

/** The `id` member of a JSON body. */
export function idOf(answer: Answer | undefined): string | undefined {
  const id = jsonOf(answer)?.['id']
  return typeof id === 'string' || typeof id === 'number' ? String(id) : undefined
}

/** The answer that stands for a step: its first 2xx, else its first answer. */
export function answerOf(run: RunStep | undefined): Answer | undefined {
  const answers = (run?.exchanges ?? []).flatMap((exchange) =>
    exchange.kind === 'answer' ? [exchange.answer] : [],
  )
  return answers.find(({ status }) => status >= 200 && status < 300) ?? answers[0]
}

/** What is wrong with the steps of a case, as sentences that start with the step. */
export function failuresOf(runs: readonly RunStep[], vars: TargetVariables): string[] {
  const failures = runs.flatMap((run, index) => {
    const where = `step ${index + 1}`
    if (run.step.ctl !== undefined) return []
    return run.exchanges.flatMap((exchange, copy) => {
      const label = run.exchanges.length > 1 ? `${where} copy ${copy + 1}` : where
      return checkExchange({ run, runs, vars }, exchange).map((failure) => `${label}: ${failure}`)
    })
  })
  return [...failures, ...checkOneId(runs)]
}

interface CheckContext {
  readonly run: RunStep
  readonly runs: readonly RunStep[]
  readonly vars: TargetVariables
}

function checkExchange(context: CheckContext, exchange: Exchange): string[] {
  const { step, keys } = context.run
  // A step without expectations may lose its connection; a request that is cut off has no answer to judge.
  if (exchange.kind === 'failed') return step.x === undefined ? [] : [`no answer: ${exchange.reason}`]
  if (exchange.kind === 'aborted') return step.x === undefined ? [] : ['aborted before its answer']
  const { answer } = exchange
  const failures = [...answer.faults, ...checkFirstDelivery(context.run, answer)]
  if (step.hold === true && answer.interim.includes(100))
    failures.push('100 Continue before the final answer')
  if (answer.status >= 400 && keys.some((key) => textOf(answer).toLowerCase().includes(key))) {
    failures.push('the error body holds the key')
  }
  if (step.x !== undefined) failures.push(...checkExpectation(step.x, context, answer))
  return failures
}

function checkExpectation(x: Expectation, context: CheckContext, answer: Answer): string[] {
  return [
    ...checkStatus(x, context, answer),
    ...checkAgainstSteps(x, context, answer),
    ...checkFields(x, context, answer),
    ...checkProblem(x, context, answer),
    ...checkTimes(x, answer),
  ]
}

function checkStatus({ st }: Expectation, { vars }: CheckContext, answer: Answer): string[] {
  if (st === undefined) return []
  const accepted = acceptedStatuses(st, vars)
  return accepted.includes(answer.status)
    ? []
    : [`status ${answer.status}, expected ${accepted.join(' or ')}`]
}

function checkAgainstSteps(x: Expectation, { runs, run }: CheckContext, answer: Answer): string[] {
  const failures: string[] = []
  const compare = (number: number | undefined, judge: (other: Answer) => string | undefined): void => {
    if (number === undefined) return
    const other = answerOf(runs[number - 1])
    const failure = other === undefined ? `step ${number} has no answer to compare with` : judge(other)
    if (failure !== undefined) failures.push(failure)
  }
  compare(x.same, (other) => differenceOf(answer, other, `step ${x.same}`))
  compare(x.differs, (other) => {
    const id = idOf(answer)
    return id !== undefined && id === idOf(other) ? `carries the id of step ${x.differs}` : undefined
  })
  compare(x.body_differs, (other) =>
    bodyOf(answer).equals(bodyOf(other)) ? `body equals step ${x.body_differs}` : undefined,
  )
  compare(x.whole_or_empty, (other) => {
    const body = bodyOf(answer)
    if (answer.status >= 300 || body.length === 0 || body.equals(bodyOf(other))) return undefined
    return `a ${answer.status} body of ${body.length} octets is neither empty nor the ${bodyOf(other).length} of step ${x.whole_or_empty}`
  })
  compare(x.lacks, (other) => {
    const text = textOf(answer)
    const id = idOf(other)
    if (id !== undefined && text.includes(id)) return `body holds the id of step ${x.lacks}`
    return run.keys.some((key) => text.toLowerCase().includes(key)) ? 'body holds the key' : undefined
  })
  return failures
}

function differenceOf(answer: Answer, other: Answer, where: string): string | undefined {
  if (answer.status !== other.status) return `status ${answer.status}, ${where} had ${other.status}`
  const [type, otherType] = [fieldOf(answer, 'content-type'), fieldOf(other, 'content-type')]
  if (type !== otherType) return `Content-Type ${type ?? 'absent'}, ${where} had ${otherType ?? 'absent'}`
  const [body, otherBody] = [bodyOf(answer), bodyOf(other)]
  if (body.equals(otherBody)) return undefined
  const at = body.findIndex((octet, index) => octet !== otherBody[index])
  const from = at === -1 ? body.length : at
  return `body differs from octet ${from}: ${excerpt(body, from)}, ${where} had ${excerpt(otherBody, from)}`
}

function checkFields(x: Expectation, { runs, vars }: CheckContext, answer: Answer): string[] {
  const failures: string[] = []
  for (const [name, rule] of Object.entries(x.has ?? {})) {
    const value = fieldOf(answer, name)
    const first = fieldOf(answerOf(runs[0]), name)
    if (rule === 'differs') {
      if (value !== undefined && value === first) failures.push(`${name} is the one of step 1`)
    } else if (value === undefined) {
      failures.push(`${name} is absent`)
    } else if (rule === 'same' ? value !== first : !new RegExp(rule, 'i').test(value)) {
      failures.push(
        `${name} is "${value}", expected ${rule === 'same' ? `"${first ?? 'absent'}" as in step 1` : `/${rule}/i`}`,
      )
    }
  }
  for (const name of x.not ?? []) {
    if (fieldOf(answer, name) !== undefined) failures.push(`${name} is present`)
  }
  if (x.replay !== undefined && vars.marker !== null) {
    const marked = fieldOf(answer, vars.marker)
    const passes = x.replay ? isTrue(marked) : marked === undefined || /^(false|\?0)$/i.test(marked)
    if (!passes)
      failures.push(
        `${vars.marker} is ${marked ?? 'absent'}, expected ${x.replay ? 'true' : 'absent or false'}`,
      )
  }
  return failures
}

function isTrue(marker: string | undefined): boolean {
  return marker !== undefined && /^(true|\?1)$/i.test(marker)
}

function checkProblem({ problem }: Expectation, { vars }: CheckContext, answer: Answer): string[] {
  if (problem === undefined) return []
  const type = fieldOf(answer, 'content-type') ?? 'absent'
  if (!/^application\/problem\+json *(;|$)/i.test(type))
    return [`Content-Type ${type}, expected application/problem+json`]
  const body = jsonOf(answer)
  if (body === undefined) return ['the problem is not a JSON object']
  const failures: string[] = []
  if (body['status'] !== answer.status)
    failures.push(`problem status ${JSON.stringify(body['status'])}, HTTP status ${answer.status}`)
  if (vars.codes && body['code'] !== problem)
    failures.push(`problem code ${JSON.stringify(body['code'])}, expected "${problem}"`)
  return failures
}

function checkTimes(x: Expectation, answer: Answer): string[] {
  const failures: string[] = []
  if (x.within !== undefined && answer.totalMs > x.within) {
    failures.push(`whole answer after ${Math.round(answer.totalMs)} ms, expected within ${x.within}`)
  }
  if (x.ttfb !== undefined && (answer.ttfbMs ?? Number.POSITIVE_INFINITY) > x.ttfb) {
    failures.push(
      `first octet after ${Math.round(answer.ttfbMs ?? answer.totalMs)} ms, expected within ${x.ttfb}`,
    )
  }
  return failures
}

/** What the handler was told to write must reach the first client unchanged, or replays are compared with a ruin. */
function checkFirstDelivery({ step }: RunStep, answer: Answer): string[] {
  const directives = (step.do ?? '').split(',').map((word) => word.trim())
  if (answer.status !== 201) return []
  const failures: string[] = []
  for (const directive of directives) {
    const [name, count] = directive.split('=')
    if (name === 'bin') {
      const whole = Buffer.from(Array.from({ length: 256 }, (_, octet) => octet))
      if (!bodyOf(answer).equals(whole)) failures.push('first delivery is not the 256 octets 0..255')
    }
    if (name === 'size' && String(jsonOf(answer)?.['pad'] ?? '').length !== Number(count)) {
      failures.push(`first delivery has no pad member of ${count} characters`)
    }
    // Without this the absence of Set-Cookie on the replay would say nothing.
    if (name === 'hdrs' && fieldOf(answer, 'set-cookie') === undefined)
      failures.push('first delivery lost Set-Cookie')
    if (name === 'stream' && (idOf(answer) === undefined || jsonOf(answer)?.['seq'] === undefined)) {
      failures.push('first delivery of the stream is not JSON with id and seq')
    }
  }
  return failures
}

/** Steps of one burst may be spread over instances, so the copies of all of them must agree. */
function checkOneId(runs: readonly RunStep[]): string[] {
  const answers = runs
    .filter(({ step }) => step.x?.one_id === true)
    .flatMap(({ exchanges }) => exchanges)
    .flatMap((exchange) => (exchange.kind === 'answer' ? [exchange.answer] : []))
    .filter(({ status }) => status >= 200 && status < 300)
  const ids = new Set(answers.map((answer) => idOf(answer) ?? 'none'))
  if (ids.has('none')) return ['a 2xx copy carries no id']
  return ids.size > 1 ? [`2xx copies carry ${ids.size} ids`] : []
}

function fieldOf(answer: Answer | undefined, name: string): string | undefined {
  const values = headerValues(answer?.headers ?? [], name)
  return values.length === 0 ? undefined : values.join(', ')
}

function bodyOf(answer: Answer): Buffer {
  const coding = fieldOf(answer, 'content-encoding')?.toLowerCase()
  try {
    if (coding === 'gzip') return gunzipSync(answer.body)
    if (coding === 'br') return brotliDecompressSync(answer.body)
    if (coding === 'deflate') return inflateSync(answer.body)
  } catch {
    // Octets that do not decode are compared as they came.
  }
  return answer.body
}

function textOf(answer: Answer): string {
  return bodyOf(answer).toString('utf8')
}

function excerpt(body: Buffer, from: number): string {
  return `${JSON.stringify(body.toString('utf8', from, from + 40))} (${body.length} octets in all)`
}

function jsonOf(answer: Answer | undefined): Record<string, unknown> | undefined {
  if (answer === undefined) return undefined
  try {
    const value: unknown = JSON.parse(textOf(answer))
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
