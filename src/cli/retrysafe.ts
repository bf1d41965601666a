#!/usr/bin/env node
/** The `retrysafe` command. Exit codes: 0 ok, 1 failure, 2 wrong use. */
import { readFileSync } from 'node:fs'
import { type CommandDef, defineCommand, renderUsage, runCommand } from 'citty'
import { printable, suggestion } from '../gateway/text.ts'
import { chaosFlags, runChaos } from './chaos-command.ts'
import { doctorFlags, runDoctor } from './doctor-command.ts'
import { CommandError, exitCodes, usageError } from './failure.ts'
import { checkFlags, checkGateway, gatewayFlags, runGateway } from './gateway-command.ts'
import {
  exportFlags,
  migrateFlags,
  runMigrate,
  runMigrateExport,
  runMigrateStatus,
  statusFlags,
} from './migrate-command.ts'
import { lintFlags, patchFlags, runOpenapi, runOpenapiLint, runOpenapiPatch } from './openapi-command.ts'

function version(): string {
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}

const check = defineCommand({
  meta: { name: 'check', description: 'Check a gateway configuration and name every mistake by its line' },
  args: checkFlags,
  run: ({ rawArgs }) => checkGateway(rawArgs),
})

const gateway = defineCommand({
  meta: {
    name: 'gateway',
    description: 'Run the gateway in front of a service, or in front of a sample service where none is named',
  },
  args: gatewayFlags,
  run: ({ rawArgs }) => runGateway(rawArgs),
})

const migrate = defineCommand({
  meta: { name: 'migrate', description: 'Make the table of records, or bring it up to date' },
  args: migrateFlags,
  run: ({ rawArgs }) => runMigrate(rawArgs),
})

const migrateStatus = defineCommand({
  meta: {
    name: 'status',
    description: 'Print the version of the table; exit code 1 when it is not up to date',
  },
  args: statusFlags,
  run: ({ rawArgs }) => runMigrateStatus(rawArgs),
})

const migrateExport = defineCommand({
  meta: { name: 'export', description: 'Print the tables for Drizzle, Prisma or Knex' },
  args: exportFlags,
  run: ({ rawArgs }) => runMigrateExport(rawArgs),
})

const chaos = defineCommand({
  meta: {
    name: 'chaos',
    description: 'Break a database or a service on purpose, and count what took effect twice or was lost',
  },
  args: chaosFlags,
  run: ({ rawArgs }) => runChaos(rawArgs),
})

const doctor = defineCommand({
  meta: {
    name: 'doctor',
    description:
      'Name the routes of an app that a retry would run twice, and other mistakes in how it is put together',
  },
  args: doctorFlags,
  run: ({ rawArgs }) => runDoctor(rawArgs),
})

const openapi = defineCommand({
  meta: {
    name: 'openapi',
    description: 'Check or complete an OpenAPI document: `openapi lint`, `openapi patch`',
  },
  run: () => runOpenapi(),
})

const openapiLint = defineCommand({
  meta: {
    name: 'lint <file or URL>',
    description: 'Check that every POST and PATCH says whether it takes an idempotency key, and how',
  },
  args: lintFlags,
  run: ({ rawArgs }) => runOpenapiLint(rawArgs),
})

const openapiPatch = defineCommand({
  meta: {
    name: 'patch <file>',
    description: 'Add what is missing: header parameter, refusals, replay header, x-idempotency',
  },
  args: patchFlags,
  run: ({ rawArgs }) => runOpenapiPatch(rawArgs),
})

/** Each command with its own commands. */
const commands: Readonly<
  Record<string, { readonly own: CommandDef; readonly below: Record<string, CommandDef> }>
> = {
  chaos: { own: chaos as unknown as CommandDef, below: {} },
  doctor: { own: doctor as unknown as CommandDef, below: {} },
  gateway: { own: gateway as unknown as CommandDef, below: { check: check as unknown as CommandDef } },
  migrate: {
    own: migrate as unknown as CommandDef,
    below: { status: migrateStatus as unknown as CommandDef, export: migrateExport as unknown as CommandDef },
  },
  openapi: {
    own: openapi as unknown as CommandDef,
    below: { lint: openapiLint as unknown as CommandDef, patch: openapiPatch as unknown as CommandDef },
  },
}

const retrysafe = defineCommand({
  meta: { name: 'retrysafe', description: 'Makes operations safe to retry' },
  subCommands: Object.fromEntries(
    Object.entries(commands).flatMap(([name, { own, below }]) => [
      [name, own],
      ...Object.entries(below).map(([second, command]) => [`${name} ${second}`, command]),
    ]),
  ),
})

const commandNames = Object.keys(commands)

async function main(rawArgs: string[]): Promise<void> {
  const [first, second] = rawArgs
  if (first === '--version' || first === '-v') {
    process.stdout.write(`${version()}\n`)
    return
  }
  if (first === undefined) {
    process.stderr.write(`${await usageOf(rawArgs)}\n`)
    process.exitCode = exitCodes.usage
    return
  }
  const ownArgs = rawArgs.slice(0, rawArgs.includes('--') ? rawArgs.indexOf('--') : undefined)
  if (ownArgs.includes('--help') || ownArgs.includes('-h')) {
    process.stdout.write(`${await usageOf(rawArgs)}\n`)
    return
  }
  const command = commands[first]
  if (command === undefined || !Object.hasOwn(commands, first)) {
    throw usageError(`${first} is no command of retrysafe${suggestion(first, commandNames)}`)
  }
  const names = Object.keys(command.below)
  if (second !== undefined && !second.startsWith('-') && !names.includes(second)) {
    throw usageError(`${second} is no command of retrysafe ${first}${suggestion(second, names)}`)
  }
  // Chosen here, since a command line library would take the value of a misspelt flag for a command.
  const below = names.includes(second ?? '') ? command.below[second as string] : undefined
  if (below !== undefined) await runCommand(below, { rawArgs: rawArgs.slice(2) })
  else await runCommand(command.own, { rawArgs: rawArgs.slice(1) })
}

async function usageOf([first, second]: string[]): Promise<string> {
  const root = retrysafe as CommandDef
  const command = Object.hasOwn(commands, first ?? '') ? commands[first as string] : undefined
  if (command === undefined) return await renderUsage(root)
  const below = Object.hasOwn(command.below, second ?? '') ? command.below[second as string] : undefined
  const parent = { meta: { name: `retrysafe ${first}` } } as CommandDef
  return below === undefined ? await renderUsage(command.own, root) : await renderUsage(below, parent)
}

// A reader that went away, such as `head`, is no failure of ours.
process.stdout.on('error', () => {})
process.stderr.on('error', () => {})

try {
  await main(process.argv.slice(2))
} catch (error) {
  const known = error instanceof CommandError
  const lines = known ? error.lines : [error instanceof Error ? error.message : String(error)]
  for (const line of lines) process.stderr.write(`${printable(line)}\n`)
  process.exitCode = known ? error.exitCode : exitCodes.failure
}
