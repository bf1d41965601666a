#!/usr/bin/env node
/** The `retrysafe` command. Exit codes: 0 ok, 1 failure, 2 wrong use. */
import { readFileSync } from 'node:fs'
import { type CommandDef, defineCommand, renderUsage, runCommand } from 'citty'
import { printable, suggestion } from '../gateway/text.ts'
import { CommandError, exitCodes, usageError } from './failure.ts'
import { checkFlags, checkGateway, gatewayFlags, runGateway } from './gateway-command.ts'

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

const retrysafe = defineCommand({
  meta: { name: 'retrysafe', description: 'Makes operations safe to retry' },
  subCommands: { gateway, 'gateway check': check },
})

const commandNames = ['gateway']

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
  if (!commandNames.includes(first)) {
    throw usageError(`${first} is no command of retrysafe${suggestion(first, commandNames)}`)
  }
  if (second !== undefined && !second.startsWith('-') && second !== 'check') {
    throw usageError(`${second} is no command of retrysafe gateway${suggestion(second, ['check'])}`)
  }
  // Chosen here, since a command line library would take the value of a misspelt flag for a command.
  if (second === 'check') await runCommand(check, { rawArgs: rawArgs.slice(2) })
  else await runCommand(gateway, { rawArgs: rawArgs.slice(1) })
}

async function usageOf([first, second]: string[]): Promise<string> {
  const root = retrysafe as CommandDef
  const parent = { meta: { name: 'retrysafe gateway' } } as CommandDef
  if (first !== 'gateway') return await renderUsage(root)
  return second === 'check'
    ? await renderUsage(check as unknown as CommandDef, parent)
    : await renderUsage(gateway as unknown as CommandDef, root)
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
