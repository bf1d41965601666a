/**
 * `npm run bench -- <question> [--json file] [--quick]`: measures, prints a table, and writes it as JSON. Exit
 * codes: 0 measured, whatever came out; 1 for a failure; 2 for words that it does not understand.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { question as client } from './client.ts'
import { question as dbos } from './dbos.ts'
import { question as frameworks } from './frameworks.ts'
import { question as gateway } from './gateway.ts'
import { question as hotKey } from './hot-key.ts'
import { question as http } from './http.ts'
import { question as memory } from './memory.ts'
import { question as postgres } from './postgres.ts'
import { question as redis } from './redis.ts'
import { question as redisMemory } from './redis-memory.ts'
import { question as retention } from './retention.ts'
import { describeMachine, type Pace, type Question, type Row } from './rounds.ts'
import { question as sqlite } from './sqlite.ts'

const questions: Readonly<Record<string, Question>> = {
  sqlite,
  postgres,
  redis,
  'redis-memory': redisMemory,
  dbos,
  'hot-key': hotKey,
  retention,
  http,
  frameworks,
  gateway,
  memory,
  client,
}

const paces = {
  full: { quick: false, rounds: 5, caseMs: 400 },
  quick: { quick: true, rounds: 1, caseMs: 100 },
} satisfies Record<string, Pace>

function usage(): string {
  const lines = Object.entries(questions).map(([name, { asks }]) => `  ${name.padEnd(12)} ${asks}`)
  return ['npm run bench -- <question> [--json file] [--quick]', '', ...lines].join('\n')
}

/** Exit code. */
async function main(args: readonly string[]): Promise<number> {
  let parsed: { values: { json?: string; quick?: boolean }; positionals: string[] }
  try {
    parsed = parseArgs({
      args: [...args],
      options: { json: { type: 'string' }, quick: { type: 'boolean' } },
      allowPositionals: true,
    })
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage()}`)
    return 2
  }
  const { values, positionals } = parsed
  const [name, ...others] = positionals
  if (name === undefined) {
    console.log(usage())
    return 0
  }
  const question = Object.hasOwn(questions, name) ? questions[name] : undefined
  if (question === undefined || others.length > 0) {
    console.error(`There is no question ${JSON.stringify(positionals.join(' '))}.\n\n${usage()}`)
    return 2
  }
  const machine = describeMachine()
  console.log(`${name}: ${question.asks}`)
  console.log(`Node.js ${machine.node}, ${machine.cores} cores (${machine.cpu}), ${machine.platform}\n`)
  const rows = await question.measure(values.quick === true ? paces.quick : paces.full)
  console.log(tableOf(rows))
  if (values.json !== undefined) {
    writeFileSync(values.json, `${JSON.stringify({ question: name, machine, rows }, undefined, 2)}\n`)
  }
  return 0
}

type Column = readonly [title: string, cell: (row: Row) => string | undefined]

const columns: readonly Column[] = [
  ['case', (row) => row.case],
  ['at', (row) => String(row.concurrency)],
  ['per second', (row) => String(row.medianPerSecond)],
  ['ratio', (row) => row.ratioToFloor.toFixed(2)],
  ['bar', barOf],
  ['p50 ms', (row) => row.p50Ms.toFixed(3)],
  ['p99 ms', (row) => row.p99Ms.toFixed(3)],
  ['cpu µs', (row) => row.cpuMicros?.toFixed(0)],
  ['heap MiB', (row) => row.heapMiB?.toFixed(1)],
  ['note', (row) => row.note],
]

function tableOf(rows: readonly Row[]): string {
  const shown = columns.filter(([, cell]) => rows.some((row) => cell(row) !== undefined))
  const lines = [
    shown.map(([title]) => title),
    ...rows.map((row) => shown.map(([, cell]) => cell(row) ?? '')),
  ]
  const widths = shown.map((_, at) => Math.max(...lines.map((line) => (line[at] ?? '').length)))
  const written = lines.map(
    (line) => `| ${line.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(' | ')} |`,
  )
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`
  return [written[0], rule, ...written.slice(1)].join('\n')
}

function barOf({ bar, ratioToFloor }: Row): string | undefined {
  if (bar === undefined) return undefined
  return `${bar.toFixed(2)} ${ratioToFloor >= bar ? 'met' : 'missed'}`
}

process.exitCode = await main(process.argv.slice(2))
