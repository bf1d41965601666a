/** The report: what it says is what the checker found, nothing in a history can break out of it, and it ends. */
import { beforeAll, describe, expect, test } from 'vitest'
import { check, type CheckReport, storyOf } from '../../src/verification/checker.ts'
import type { History, HistoryEvent, HistoryHeader, RecordState } from '../../src/verification/history.ts'
import { html } from '../../src/verification/report/markup.ts'
import { htmlReport, summaryTable } from '../../src/verification/report.ts'
import { simulate } from '../../src/verification/simulator/index.ts'

interface Run {
  readonly history: History
  readonly report: CheckReport
}

const header: HistoryHeader = {
  seed: 1,
  store: 'by hand',
  mode: 'hold',
  promise: 'held',
  leaseMs: 1_000,
  retentionMs: 10_000,
  tombstoneMs: 0,
  recoveryMs: 2_000,
}

const hostile = `<img src=x onerror=1>\u{1b}[31m"'&</title>\u{9b}1m\u{0}\u{202e}\r\n\u{d800}`
const who = { principal: `bob ${hostile}`, key: `key ${hostile}` }

function state(phase: RecordState['phase'], changes: Partial<RecordState> = {}): RecordState {
  return {
    phase,
    token: 'a',
    fence: 1,
    fingerprint: 'f1',
    leaseUntil: phase === 'running' ? 1_010 : undefined,
    settledAt: phase === 'running' ? undefined : 60,
    ...changes,
  }
}

/** Two effects, an answer without an effect, a claim against a live lease, a key that never ends, and a secret. */
const brokenEvents: readonly HistoryEvent[] = [
  { at: 1_000, type: 'invoke', call: 1, process: 'p1', ...who, request: hostile },
  { at: 1_010, type: 'record', record: hostile, now: 10, before: undefined, after: state('running') },
  { at: 1_020, type: 'start', call: 1, process: 'p1', ...who, request: hostile, token: 'a', fence: 1 },
  { at: 1_025, type: 'own-claim', process: 'p1', token: 'a', what: 'seen' },
  { at: 1_030, type: 'effect', effect: `e1${hostile}`, call: 1, ...who, request: hostile, token: 'a' },
  { at: 1_040, type: 'stop', call: 1, token: 'a' },
  { at: 1_041, type: 'fault', fault: `killed ${hostile}`, target: 'p1' },
  { at: 1_042, type: 'info', call: 1, code: `gone ${hostile}` },
  { at: 1_043, type: 'fault', fault: 'cut', target: `wire ${hostile}` },
  {
    at: 1_060,
    type: 'record',
    record: hostile,
    now: 60,
    before: state('running'),
    after: state('running', { token: 'b', fence: 2, leaseUntil: 1_060 }),
  },
  { at: 1_072, type: 'invoke', call: 7, process: `p2${hostile}`, ...who, request: hostile },
  { at: 1_074, type: 'reconcile', call: 7, ...who, adopted: false },
  { at: 1_075, type: 'effect', effect: 'e7', call: 7, ...who, request: hostile, token: 'b' },
  { at: 1_090, type: 'ok', call: 7, value: `${who.principal}|${who.key}|${hostile}|e9`, replayed: false },
  { at: 1_095, type: 'ack', ...who },
  { at: 1_096, type: 'leak', where: hostile },
  { at: 1_100, type: 'quiet' },
  { at: 1_110, type: 'invoke', call: 8, process: 'p3', ...who, request: hostile },
  { at: 1_900, type: 'fail', call: 8, code: `in-progress ${hostile}` },
  { at: 2_000, type: 'end', leftOver: [hostile] },
]

function checkedRun(events: readonly HistoryEvent[], changes: Partial<HistoryHeader> = {}): Run {
  const history = { header: { ...header, ...changes }, events }
  return { history, report: check(history) }
}

const broken = checkedRun(brokenEvents, { store: hostile, mode: hostile })

/** C0, C1, DEL, and what turns the direction of text, but for the line ends of a document. */
// oxlint-disable-next-line no-control-regex
const obeyed = /[\u{0}-\u{9}\u{b}-\u{1f}\u{7f}-\u{9f}\u{202a}-\u{202e}\u{2066}-\u{2069}]/u

function firstOf(text: string, pattern: RegExp): string | undefined {
  return pattern.exec(text)?.[0]
}

const voidElements = new Set(['meta', '!doctype'])

/** Reads tags as a parser of XML does, but for void elements, and says what does not fit together. */
function unbalanced(markup: string): string | undefined {
  const open: string[] = []
  const withoutStyle = markup.replace(/<style>[^<]*<\/style>/, '')
  const tag = /<(\/?)([a-z!][a-z0-9]*)((?:\s+[a-z-]+(?:="[^"<]*")?)*)\s*(\/?)>/g
  for (const [, closes, name = '', , closesItself] of withoutStyle.matchAll(tag)) {
    if (voidElements.has(name) || closesItself === '/') continue
    if (closes !== '/') open.push(name)
    else if (open.pop() !== name) return `</${name}>`
  }
  const rest = withoutStyle.replaceAll(tag, '')
  if (/[<>]/.test(rest)) return `not a tag: ${rest.slice(Math.max(0, rest.search(/[<>]/) - 40)).slice(0, 80)}`
  return open.at(-1)
}

function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;')
}

/** The rows of the tables, each as the texts of its cells. */
function rowsOf(page: string): readonly (readonly string[])[] {
  return [...page.matchAll(/<tr class="[^"]*">(.*?)<\/tr>/gs)].map(([, row = '']) =>
    [...row.matchAll(/<td[^>]*>([^<]*)<\/td>/g)].map(([, cell = '']) => cell),
  )
}

/** What a row must say of an event, besides its time. */
function told(event: HistoryEvent): string {
  switch (event.type) {
    case 'invoke':
      return `call ${event.call} asks`
    case 'ok':
    case 'fail':
    case 'info':
      return `call ${event.call} ends ${event.type}`
    case 'start':
      return `handler starts for call ${event.call}: fence ${event.fence}`
    case 'stop':
      return `handler stops for call ${event.call}`
    case 'effect':
      return `of call ${event.call}`
    case 'record':
      return event.after === undefined ? 'absent' : `fence ${event.after.fence}`
    case 'fault':
      return `fault: ${event.fault.slice(0, 5)}`
    case 'own-claim':
      return event.what === 'seen' ? 'live claim' : 'gives its claim back'
    case 'reconcile':
      return 'asks the operation'
    case 'ack':
      return 'acknowledges'
    case 'quiet':
      return 'the faults are over'
    default:
      return ''
  }
}

let withTakeover: readonly Run[] = []

beforeAll(async () => {
  const found: Run[] = []
  for (let seed = 1; seed <= 50 && found.length < 5; seed++) {
    const run = await simulate({ mode: 'rerun', seed })
    if (run.report.sights.takeover > 0) found.push(run)
  }
  withTakeover = found
})

describe('the table', () => {
  test('says what was counted', () => {
    const [run] = withTakeover as [Run]
    const table = summaryTable(run.history, run.report)
    const { counts, sights } = run.report
    expect(table).toMatch(/^store +simulated$/m)
    expect(table).toMatch(/^mode +rerun /m)
    expect(table).toMatch(new RegExp(`^seed +${run.history.header.seed}$`, 'm'))
    expect(table).toMatch(
      new RegExp(
        `^operations +${counts.calls}: ok ${counts.ok}; fail ${counts.fail}; info ${counts.info}; replayed ${counts.replayed}$`,
        'm',
      ),
    )
    expect(table).toMatch(new RegExp(`^effects +${counts.effects}$`, 'm'))
    expect(table).toMatch(new RegExp(`^takeovers +${sights.takeover}$`, 'm'))
    expect(table).toMatch(/^unknown commits +0: applied 0; not applied 0$/m)
    expect(table).toMatch(/^verdict +no promise broken$/m)
    for (const fault of Object.keys(counts.faults)) {
      expect(table.replaceAll(/\s+/g, ' ')).toContain(`${fault} ${counts.faults[fault]}`)
    }
  })

  test('says which promises were broken, and where', () => {
    const table = summaryTable(broken.history, broken.report)
    const of = (invariant: string): number =>
      broken.report.violations.filter((violation) => violation.invariant === invariant).length
    expect(of('I1')).toBeGreaterThan(0)
    expect(table).toMatch(new RegExp(`^duplicates \\(I1\\) +${of('I1')}$`, 'm'))
    expect(table).toMatch(new RegExp(`^lost \\(I2\\) +${of('I2')}$`, 'm'))
    expect(table).toMatch(new RegExp(`^stuck \\(I6\\) +${of('I6')}$`, 'm'))
    expect(table).toMatch(/^other violations +\d+: /m)
    expect(table).toMatch(/^verdict +\d+ promises broken: I1, I2, /m)
    for (const { invariant } of broken.report.violations) {
      expect(table).toMatch(new RegExp(`^ {2}${invariant.padEnd(4)}`, 'm'))
    }
  })

  test('holds nothing that a terminal obeys, and is 100 columns wide at most', () => {
    const wide = checkedRun(
      brokenEvents.map((event) => ('key' in event ? { ...event, key: '鍵'.repeat(300) } : event)),
      { store: '店'.repeat(200), mode: 'm'.repeat(200) },
    )
    for (const { history, report } of [broken, wide]) {
      const table = summaryTable(history, report)
      expect(table).not.toMatch(obeyed)
      for (const line of table.split('\n')) {
        const columns = [...line].reduce((sum, character) => sum + (character < '\u{300}' ? 1 : 2), 0)
        expect(columns).toBeLessThanOrEqual(100)
      }
    }
    expect(summaryTable(broken.history, broken.report)).toContain('<img src=x onerror=1>\u{fffd}[31m')
  })

  test('shows 20 violations, and how many more there are', () => {
    const events: HistoryEvent[] = Array.from({ length: 30 }, (_, at) => ({
      at,
      type: 'leak',
      where: `file ${at}`,
    }))
    const { history, report } = checkedRun(events)
    const lines = summaryTable(history, report).trimEnd().split('\n')
    expect(lines.filter((line) => line.startsWith('  I16'))).toHaveLength(20)
    expect(lines.at(-1)).toBe('  and 10 more violations')
  })

  test('does not call it kept when nobody asked', () => {
    const { history, report } = checkedRun([])
    expect(summaryTable(history, report)).toContain('nobody asked for anything')
  })
})

test('what is put into a template is escaped, and templates are not', () => {
  const inner = html`<b title="${hostile}">${hostile}</b>`
  const text = html`<p>${[inner, undefined, 1]}</p>`.toString()
  const shown = escaped(`<img src=x onerror=1>\u{fffd}[31m"'&</title>\u{fffd}1m${'\u{fffd}'.repeat(5)}`)
  expect(text).toBe(`<p><b title="${shown}">${shown}</b>1</p>`)
})

describe('the page', () => {
  test('needs no script and nothing from elsewhere', () => {
    const page = htmlReport([broken, ...withTakeover])
    expect(page).toContain(
      `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">`,
    )
    expect(page).toContain('prefers-color-scheme: dark')
    const withoutValues = page.replaceAll(/="[^"]*"/g, '=""')
    expect(firstOf(withoutValues, /<(script|link|img|iframe|object|base|form)\b/)).toBeUndefined()
    expect(firstOf(withoutValues, /<[^>]*\s(src|style|on[a-z]+)=/)).toBeUndefined()
    expect(firstOf(page, /url\(|@import|https?:/)).toBeUndefined()
    for (const [, to = ''] of page.matchAll(/href="([^"]*)"/g)) expect(page).toContain(`id="${to.slice(1)}"`)
  })

  test('is well-formed, whatever a history holds', () => {
    for (const page of [htmlReport([broken, ...withTakeover]), htmlReport([broken]), htmlReport([])]) {
      expect(unbalanced(page)).toBeUndefined()
      expect(firstOf(page, obeyed)).toBeUndefined()
      expect(page.isWellFormed()).toBe(true)
    }
  })

  test('escapes all that came from a history', () => {
    const page = htmlReport([broken])
    expect(page).not.toContain('<img')
    const shown = escaped(`<img src=x onerror=1>\u{fffd}[31m"'&</title>\u{fffd}1m`)
    for (const text of [`bob ${shown}`, `key ${shown}`, `e1${shown}`, `gone ${shown}`, `killed ${shown}`]) {
      expect(page).toContain(text)
    }
    const ids = [...page.matchAll(/\sid="([^"]*)"/g)].map(([, id = '']) => id)
    expect(new Set(ids).size).toBe(ids.length)
    for (const id of ids) expect(id).toMatch(/^run-\d+(-key-\d+-(title|desc))?$/)
  })

  test('says whether a promise was broken', () => {
    const [kept] = withTakeover as [Run]
    expect(htmlReport([kept])).toContain('<p class="verdict kept">✓ no promise broken</p>')
    const violations = broken.report.violations.length
    const promises = new Set(broken.report.violations.map(({ invariant }) => invariant)).size
    expect(htmlReport([broken])).toMatch(
      new RegExp(
        `<p class="verdict broken">✗ ${promises} promises broken: I1, .* \\(${violations} violations\\)`,
      ),
    )
    expect(htmlReport([kept, broken])).toContain(`✗ promises broken in 1 of 2 runs: ${violations} violations`)
    expect(htmlReport([kept, kept])).toContain('✓ no promise broken in 2 runs')
  })

  test('tells every event of the story of a key that is broken', () => {
    const page = htmlReport([broken])
    const story = storyOf(broken.history, who)
    const rows = rowsOf(page)
    expect(rows).toHaveLength(story.length)
    for (const [at, event] of story.entries()) {
      expect(rows[at]?.[0]).toBe((event.at - 1_000).toLocaleString('en'))
      expect(rows[at]?.[2]).toContain(told(event))
    }
  })

  test('tells of records that were evicted, and of those of the key only', () => {
    const evicted: readonly HistoryEvent[] = [hostile, 'another'].map((record) => ({
      ...{ at: 1_050, type: 'eviction', record },
    }))
    const events = [...brokenEvents, ...evicted].toSorted((a, b) => a.at - b.at)
    const rows = rowsOf(htmlReport([checkedRun(events)]))
    expect(rows.filter((row) => row[2]?.includes('is evicted') === true)).toHaveLength(1)
  })

  test('tells every event of the keys that saw a takeover', () => {
    for (const run of withTakeover) {
      const page = htmlReport([run])
      const keys = new Map(
        run.history.events.flatMap((event) =>
          event.type === 'invoke' ? [[`${event.key} ${event.principal}`, event] as const] : [],
        ),
      )
      const shown = [...page.matchAll(/<code>(.*?)<\/code> of <code>(.*?)<\/code>/g)]
      expect(shown.length).toBeGreaterThan(0)
      const stories = shown.flatMap(([, key, principal]) => {
        const found = keys.get(`${key} ${principal}`)
        return found === undefined ? [] : storyOf(run.history, found)
      })
      const rows = rowsOf(page)
      expect(rows).toHaveLength(stories.length)
      for (const [at, event] of stories.entries()) expect(rows[at]?.[2]).toContain(told(event))
      expect(page).toContain('saw a takeover')
    }
  })

  test('draws calls with their ends, handlers, effects, faults, phases and fences', () => {
    const page = htmlReport([broken])
    const [, svg = ''] = /(<svg width="\d+" height="\d+" role="img".*?<\/svg>)/s.exec(page) ?? []
    expect(unbalanced(svg)).toBeUndefined()
    expect(svg).toMatch(/<title id="run-1-key-1-title">.+<\/title>\s*<desc id="run-1-key-1-desc">.+<\/desc>/)
    for (const look of ['call ok', 'call fail', 'call info', 'phase running', 'line effect', 'line fault']) {
      expect(svg).toContain(`<g class="${look}">`)
    }
    for (const label of ['>call 1: info gone', '>call 7: ok e9<', '>running, fence 2<', '>e7 of call 7<']) {
      expect(svg).toContain(label)
    }
    for (const shape of ['start', 'stop', 'claim', 'asked', 'effect', 'fault', 'note']) {
      expect(svg).toContain(`class="mark ${shape}"`)
    }
    const ticks = [...svg.matchAll(/<text class="tick"[^>]*>([^<]*)</g)].map(([, tick = '']) => tick)
    expect(ticks[0]).toBe('0')
    expect(ticks.at(-1)).toBe('900')
    expect(firstOf(svg, /NaN|Infinity|undefined|width="-/)).toBeUndefined()
  })

  test('calls that go on at one time are drawn below each other', () => {
    const events = Array.from({ length: 8 }, (_, call): HistoryEvent[] => [
      { at: call, type: 'invoke', call, process: 'p1', ...who, request: 'r' },
      { at: 20 + (call % 3) * 30 + call, type: 'info', call, code: 'gone' },
    ]).flat()
    const concurrent = checkedRun(events.toSorted((a, b) => a.at - b.at))
    let bars = 0
    for (const run of [concurrent, broken, ...withTakeover]) {
      for (const [, svg = ''] of htmlReport([run]).matchAll(/(<svg [^>]*role="img".*?<\/svg>)/gs)) {
        const drawn = [...svg.matchAll(/<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"/g)].map((bar) =>
          bar.slice(1).map(Number),
        )
        bars += drawn.length
        for (const [at, [x = 0, y, width = 0]] of drawn.entries()) {
          const others = drawn.filter((other, index) => index !== at && other[1] === y)
          for (const [otherX = 0, , otherWidth = 0] of others) {
            expect(otherX >= x + width || x >= otherX + otherWidth).toBe(true)
          }
        }
      }
    }
    expect(bars).toBeGreaterThan(20)
  })

  test('puts a log that knows only the clock of the store beside the calls', () => {
    const lease = { leaseUntil: 100_010 }
    const events: readonly HistoryEvent[] = [
      {
        at: 50,
        type: 'record',
        record: 'id',
        now: 99_010,
        before: undefined,
        after: state('running', lease),
      },
      {
        at: 50,
        type: 'record',
        record: 'id',
        now: 101_500,
        before: state('running', lease),
        after: state('running', { token: 'b', fence: 2, leaseUntil: 102_500 }),
      },
      { at: 50, type: 'invoke', call: 1, process: 'p1', ...who, request: 'r' },
      { at: 62, type: 'start', call: 1, process: 'p1', ...who, request: 'r', token: 'a', fence: 1 },
      { at: 2_540, type: 'invoke', call: 2, process: 'p2', ...who, request: 'r' },
      { at: 2_552, type: 'start', call: 2, process: 'p2', ...who, request: 'r', token: 'b', fence: 2 },
    ]
    const page = htmlReport([checkedRun(events, { promise: 'rerun' })])
    expect(rowsOf(page).map(([time, , what = '']) => `${time} ${what.split(' ')[0]}`)).toEqual([
      '0 call',
      'about 12 absent',
      '12 handler',
      '2,490 call',
      'about 2,502 running,',
      '2,502 handler',
    ])
    expect(page).toContain('worked out from the clock of the store')
  })

  test('shows 50 keys with 400 events each, and says what it leaves out', () => {
    const ofKey = (name: number, calls: number): HistoryEvent[] =>
      Array.from({ length: calls }, (_, at): HistoryEvent[] => {
        const call = name * 10_000 + at
        const key = { principal: 'bob', key: `k${name}` }
        return [
          { at: at * 10, type: 'invoke', call, process: `p${at % 60}`, ...key, request: 'r' },
          { at: at * 10 + 15, type: 'ok', call, value: `bob|k${name}|r|gone`, replayed: true },
        ]
      }).flat()
    const faults = Array.from({ length: 600 }, (_, at): HistoryEvent => {
      return { at: 10_000 + at, type: 'fault', fault: 'cut', target: 'connections' }
    })
    const events = [
      ...Array.from({ length: 60 }, (_, name) => ofKey(name, name === 0 ? 500 : 1)).flat(),
      ...faults,
    ].toSorted((a, b) => a.at - b.at)
    const page = htmlReport([checkedRun(events)])
    expect(page.match(/<figure>/g)).toHaveLength(50)
    expect(page).toContain('10 more keys left out')
    expect(page).toContain('600 events left out here')
    expect(page).toContain('600 faults before and after it left out')
    expect(page).toContain('37 others')
    const [first = ''] = page.match(/<tbody>.*?<\/tbody>/s) ?? []
    expect(rowsOf(first)).toHaveLength(401)
    expect(unbalanced(page)).toBeUndefined()
    expect(firstOf(page, /NaN|Infinity|width="-/)).toBeUndefined()
  })

  test('shows every run some keys, and broken runs before others when there are too many', () => {
    const many = Array.from({ length: 150 }, () => withTakeover[0] as Run)
    const page = htmlReport([...many, broken])
    expect(page).toContain('51 more runs left out')
    expect(page).toContain('promises broken in 1 of 151 runs')
    expect(page.match(/<section /g)).toHaveLength(100)
    expect(page.match(/<figure>/g)?.length).toBeLessThanOrEqual(50)
    expect(page.indexOf('verdict broken', page.indexOf('<section'))).toBeLessThan(
      page.indexOf('verdict kept'),
    )
  })

  test('stays small, however long the texts of a history are', () => {
    const long = '<"\u{1b}'.repeat(100_000)
    const events = brokenEvents.map((event) => ({
      ...event,
      ...('key' in event ? { key: long, principal: long } : {}),
      ...('code' in event ? { code: long } : {}),
      ...('fault' in event ? { fault: long, target: long } : {}),
    }))
    const { history, report } = checkedRun(events, { store: long, mode: long })
    expect(htmlReport([{ history, report }]).length).toBeLessThan(200_000)
    expect(summaryTable(history, report).length).toBeLessThan(10_000)
  })
})
