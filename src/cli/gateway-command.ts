/** `retrysafe gateway` and `retrysafe gateway check`. */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import {
  type ConfigFile,
  defaultDrainTimeoutMs,
  defaultListen,
  defaultNamespace,
  defaultRouteOptions,
  type GatewayConfig,
  parseGatewayConfig,
  parseHost,
  parsePort,
  parsePrincipal,
  parseStore,
  parseUpstream,
} from '../gateway/config.ts'
import { isIdempotencyError } from '../core/errors.ts'
import { onEvent } from '../engine/events.ts'
import { createGateway } from '../gateway/gateway.ts'
import { logToStandardOutput } from '../gateway/log.ts'
import { failure, usageError } from './failure.ts'
import { readFlags, type TextFlag } from './flags.ts'
import { startSample } from './sample.ts'
import { makeStateFolder, openStore, stateFolder } from './store-address.ts'
import { ownServiceWelcome, sampleWelcome } from './welcome.ts'

const configBytesMax = 1024 * 1024

type GatewayFlag = 'upstream' | 'port' | 'host' | 'store' | 'principal' | 'config'

export const gatewayFlags: Readonly<Record<GatewayFlag, TextFlag>> = {
  upstream: {
    type: 'string',
    description: 'The service behind the gateway, such as http://localhost:3000',
    valueHint: 'url',
  },
  port: { type: 'string', description: 'Port to listen on (8080)', valueHint: 'number' },
  host: { type: 'string', description: 'Address to listen on (127.0.0.1)', valueHint: 'address' },
  store: {
    type: 'string',
    description: 'sqlite:./file.db, redis://host:6379/0 or memory: (sqlite:./.retrysafe/records.db)',
    valueHint: 'address',
  },
  principal: {
    type: 'string',
    description: "How callers are told apart: 'header:authorization' or 'anonymous'",
    valueHint: 'rule',
  },
  config: { type: 'string', description: 'Configuration in YAML; flags win over it', valueHint: 'file' },
}

export const checkFlags: Readonly<Record<'config', TextFlag>> = { config: gatewayFlags.config }

function parsedFlag<Value extends object | string | number>(
  name: string,
  text: string | undefined,
  parse: (text: string) => Value | { readonly rule: string },
): Value | undefined {
  if (text === undefined) return undefined
  const parsed = parse(text)
  if (typeof parsed === 'object' && 'rule' in parsed) {
    const { rule } = parsed as { rule: string }
    // An address may hold a password, in whichever part it was put.
    const shown = /[@?]/.test(text) ? '' : `, got ${JSON.stringify(text.slice(0, 80))}`
    throw usageError(`--${name} ${rule}${shown}`)
  }
  return parsed as Value
}

function readConfigFile(file: string): ConfigFile {
  let text: string
  try {
    const found = statSync(file)
    if (!found.isFile()) throw usageError(`--config ${file} is no regular file.`)
    if (found.size > configBytesMax) throw usageError(`--config ${file} is over 1 MiB.`)
    text = readFileSync(file, 'utf8')
  } catch (error) {
    const { code } = error as { code?: string }
    if (code === undefined) throw error
    throw usageError(
      `--config ${file} cannot be read: ${code === 'ENOENT' ? 'there is no such file' : code}.`,
    )
  }
  const { config, problems } = parseGatewayConfig(text, file, process.env)
  if (config === undefined) throw usageError(...problems)
  return config
}

/** `retrysafe gateway check`: reads the configuration and says whether it passes. @throws CommandError */
export function checkGateway(rawArgs: readonly string[]): void {
  const { config: file = 'gateway.yaml' } = readFlags(rawArgs, checkFlags)
  const config = readConfigFile(file)
  if (config.upstream === undefined)
    throw usageError(`${file}:1: upstream is missing, such as http://localhost:3000`)
  const routes = config.routes.length === 1 ? '1 route' : `${config.routes.length} routes`
  process.stdout.write(`${file} passes: ${routes}, every other POST and PATCH protected.\n`)
}

/** `retrysafe gateway`: resolves when the gateway has ended. @throws CommandError */
export async function runGateway(rawArgs: readonly string[]): Promise<void> {
  const flags = readFlags(rawArgs, gatewayFlags)
  const file = flags.config === undefined ? undefined : readConfigFile(flags.config)
  const port = parsedFlag('port', flags.port, parsePort)
  const host = parsedFlag('host', flags.host, parseHost)
  const upstream = parsedFlag('upstream', flags.upstream, parseUpstream) ?? file?.upstream
  const principal = parsedFlag('principal', flags.principal, parsePrincipal) ?? file?.principal
  const store = parsedFlag('store', flags.store, parseStore) ?? file?.store
  if (upstream === undefined && file !== undefined) {
    throw usageError(`${flags.config}:1: upstream is missing; write it there or give --upstream`)
  }
  const common = {
    listen: {
      host: host ?? file?.listen?.host ?? defaultListen.host,
      port: port ?? file?.listen?.port ?? defaultListen.port,
    },
    store: store ?? { kind: 'sqlite' as const, file: join(stateFolder, 'records.db') },
    namespace: file?.namespace ?? defaultNamespace,
    cors: file?.cors ?? [],
    routes: file?.routes ?? [],
    defaults: file?.defaults ?? defaultRouteOptions,
    drainTimeoutMs: file?.drainTimeoutMs ?? defaultDrainTimeoutMs,
  }
  if (upstream !== undefined) {
    if (isOwnAddress(upstream, common.listen)) {
      throw usageError(
        `The upstream ${upstream} is the gateway itself. Choose another --port, or the service's.`,
      )
    }
    const told = principal ?? { kind: 'header' as const, name: 'authorization' }
    return await serve({ ...common, upstream, principal: told }, (origin, config) =>
      ownServiceWelcome(origin, config),
    )
  }
  makeStateFolder()
  const ledger = join(stateFolder, 'ledger.jsonl')
  const sample = await startSample(ledger)
  try {
    const config = {
      ...common,
      upstream: sample.origin,
      principal: principal ?? { kind: 'anonymous' as const },
    }
    await serve(config, (origin) => sampleWelcome(origin, config, ledger))
  } finally {
    await sample.close()
  }
}

const loopback: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]'])

/** Requests would go round in a circle. */
function isOwnAddress(upstream: string, listen: GatewayConfig['listen']): boolean {
  const url = new URL(upstream)
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port)
  const local = loopback.has(url.hostname) || url.hostname === listen.host
  return local && port === listen.port
}

async function serve(
  config: GatewayConfig,
  welcome: (origin: string, config: GatewayConfig) => string,
): Promise<void> {
  const { store, durability, end } = await openStore(config.store)
  onEvent('store-error', ({ error }) => {
    const code = isIdempotencyError(error) && 'failure' in error ? String(error.failure) : 'unrecognised'
    logToStandardOutput({ event: 'store-failed', code })
  })
  try {
    const gateway = createGateway(config, { store })
    // Taken before listening, so that no signal is missed.
    const told = toldToStop()
    const port = await listening(gateway, config)
    if (durability !== undefined) process.stdout.write(`${durability}\n`)
    process.stdout.write(welcome(originOf(config.listen.host, port), config))
    await told
    await gateway.close()
  } finally {
    end()
  }
}

function originOf(host: string, port: number): string {
  const reachable = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`
}

async function listening(gateway: ReturnType<typeof createGateway>, config: GatewayConfig): Promise<number> {
  const { host, port } = config.listen
  try {
    return (await gateway.listen()).port
  } catch (error) {
    await gateway.close()
    const { code } = error as { code?: string }
    switch (code) {
      case 'EADDRINUSE':
        throw failure(
          `Port ${port} on ${host} is in use. Choose another with --port, or --port 0 for a free one.`,
        )
      case 'EACCES':
        throw failure(`Port ${port} on ${host} needs rights that this user does not have.`)
      case 'EADDRNOTAVAIL':
      case 'ENOTFOUND':
        throw failure(`--host ${host} is no address of this machine.`)
      default:
        throw error
    }
  }
}

/** Resolves at the first SIGTERM or SIGINT; a second one ends the process at once. */
function toldToStop(): Promise<void> {
  return new Promise((resolve) => {
    const stop = (): void => {
      process.off('SIGTERM', stop)
      process.off('SIGINT', stop)
      resolve()
    }
    process.on('SIGTERM', stop)
    process.on('SIGINT', stop)
  })
}
