/** What a gateway is told to do: read from YAML, checked whole, complained of by line. */
import { InvalidOptionError } from '../core/errors.ts'
import { type Duration, type DurationBounds, toMilliseconds } from '../core/duration.ts'
import { defaultPolicy, type Policy, resolvePolicy } from '../engine/policy.ts'
import {
  defaultGuardOptions,
  type GuardOptions,
  type HttpEngine,
  type IdempotentOptions,
  resolveOptions,
} from '../http/options.ts'
import { parsePattern, type RoutePattern } from './match.ts'
import { parseRedisAddress, type RedisAddress } from './redis-address.ts'
import { type Place, readYaml, type YamlReader } from './yaml-reader.ts'

/** Where records are kept. */
export type StoreAddress =
  | { readonly kind: 'memory' }
  | { readonly kind: 'sqlite'; readonly file: string }
  | ({ readonly kind: 'redis' } & RedisAddress)

/**
 * How callers are told apart. `header`: by a digest of that field, and a keyed request without it is refused with
 * 401. `anonymous`: not at all; whoever knows a key gets its answer.
 */
export type GatewayPrincipal =
  | { readonly kind: 'header'; readonly name: string }
  | { readonly kind: 'anonymous' }

/** How requests of a route are protected. */
export interface RouteOptions {
  readonly guard: GuardOptions
  readonly policy: Policy
  /** How long the upstream may take from the first octet sent to the last received. Default 60 s. */
  readonly upstreamTimeoutMs: number
}

export type GatewayRoute = { readonly pattern: RoutePattern } & (
  | { readonly kind: 'protected'; readonly options: RouteOptions }
  /** Passed through as if there were no key. */
  | { readonly kind: 'bypass' }
)

export interface GatewayConfig {
  /** `http://host:port` or `https://host`; requests never choose it. */
  readonly upstream: string
  readonly listen: { readonly host: string; readonly port: number }
  readonly store: StoreAddress
  /** Separates gateways that share a store. Default `'gateway'`. */
  readonly namespace: string
  readonly principal: GatewayPrincipal
  /** The first route that covers a request decides. */
  readonly routes: readonly GatewayRoute[]
  /**
   * Origins whose scripts may read the answers that the gateway gives itself: replays and refusals. `*` is any
   * origin, without credentials. Preflights and first answers are the upstream's. Default: none.
   */
  readonly cors: readonly string[]
  /** For every POST and PATCH that no route covers. */
  readonly defaults: RouteOptions
  /** How long running requests may go on after the gateway was told to stop. Default 30 s. */
  readonly drainTimeoutMs: number
}

const mebibyte = 1024 * 1024
const bodyBytesMax = 64 * mebibyte
const configBytesMax = mebibyte
const routesMax = 1_000

const upstreamTimeoutMsDefault = 60_000
const upstreamTimeoutBounds = { min: '1ms', max: '24h' } as const

export const defaultRouteOptions: RouteOptions = {
  guard: defaultGuardOptions,
  policy: defaultPolicy,
  upstreamTimeoutMs: upstreamTimeoutMsDefault,
}

export const defaultListen: GatewayConfig['listen'] = { host: '127.0.0.1', port: 8080 }
export const defaultDrainTimeoutMs = 30_000
export const defaultNamespace = 'gateway'

const topNames = [
  'upstream',
  'listen',
  'store',
  'namespace',
  'principal',
  'cors',
  'defaults',
  'routes',
  'drainTimeout',
]
/** Options that are those of the adapters, by the same names. */
const durationNames = ['retention', 'lease', 'tombstone'] as const
const wordNames = ['preset', 'onUnknown', 'onStoreError', 'scope', 'keySyntax', 'bodyCompare'] as const
const bytesNames = ['requestBytesMax', 'responseBytesMax'] as const
const optionNames = ['required', ...durationNames, ...wordNames, ...bytesNames, 'inFlight', 'upstreamTimeout']
/** What a preset decides. A route with a preset takes these from it and not from the defaults. */
const presetNames = ['preset', 'required', 'onUnknown', 'keySyntax'] as const

/** The option that a rule between two may also be complained of at. */
const companions: Readonly<Record<string, string>> = { lease: 'retention', onStoreError: 'required' }

const guardableMethods: ReadonlySet<string> = new Set(['POST', 'PATCH', 'PUT', 'DELETE'])

/** Options as they are written, checked one by one. */
type WrittenOptions = {
  -readonly [Name in keyof IdempotentOptions<never>]?: IdempotentOptions<never>[Name]
} & { upstreamTimeoutMs?: number }

/** What a configuration file may leave out because the command line says it. */
export type ConfigFile = Partial<Pick<GatewayConfig, 'upstream' | 'listen' | 'store' | 'principal'>> &
  Pick<GatewayConfig, 'namespace' | 'cors' | 'routes' | 'defaults' | 'drainTimeoutMs'>

/** `config` is absent where there are problems; each problem is one line with name and line number. */
export interface ParsedGatewayConfig {
  readonly config: ConfigFile | undefined
  readonly problems: readonly string[]
}

/**
 * Reads a configuration file. Never throws: every rule that the text breaks is one line of `problems`.
 *
 * @param name how problems call the file, such as `gateway.yaml`
 * @param environment where `${NAME}` is looked up
 * @example
 * const { config, problems } = parseGatewayConfig('upstream: http://127.0.0.1:3000', 'gateway.yaml', process.env)
 */
export function parseGatewayConfig(
  text: string,
  name: string,
  environment: Readonly<Record<string, string | undefined>>,
): ParsedGatewayConfig {
  const bytes = Buffer.byteLength(text)
  if (bytes > configBytesMax) {
    return {
      config: undefined,
      problems: [`${name}:1: The document must be at most 1 MiB, got ${bytes} bytes`],
    }
  }
  const yaml = readYaml(name, text, environment)
  if (yaml.problems().length > 0) return { config: undefined, problems: yaml.problems() }
  const config = new ConfigReader(yaml).document()
  const problems = yaml.problems()
  return { config: problems.length > 0 ? undefined : config, problems }
}

class ConfigReader {
  readonly #yaml: YamlReader
  constructor(yaml: YamlReader) {
    this.#yaml = yaml
  }

  document(): ConfigFile {
    const top = this.#yaml.members(this.#yaml.root, topNames)
    const upstream = this.#parsed(top.get('upstream'), parseUpstream)
    const store = this.#parsed(top.get('store'), parseStore)
    const principal = this.#principal(top.get('principal'))
    const listen = this.#listen(top.get('listen'))
    const place = top.get('defaults') ?? this.#yaml.root
    const members =
      place === this.#yaml.root ? new Map<string, Place>() : this.#yaml.members(place, optionNames)
    const written = this.#written(members)
    const defaults = this.#options(place, members, written, [...defaultRouteOptions.guard.methods])
    return {
      ...(upstream === undefined ? {} : { upstream }),
      ...(store === undefined ? {} : { store }),
      ...(principal === undefined ? {} : { principal }),
      ...(listen === undefined ? {} : { listen }),
      namespace: this.#parsed(top.get('namespace'), parseNamespace) ?? defaultNamespace,
      cors: this.#cors(top.get('cors')),
      defaults,
      routes: this.#routes(top.get('routes'), written),
      drainTimeoutMs: this.#duration(top.get('drainTimeout'), { max: '1h' }) ?? defaultDrainTimeoutMs,
    }
  }

  #routes(place: Place | undefined, defaults: WrittenOptions): GatewayRoute[] {
    if (place === undefined) return []
    const items = this.#yaml.items(place)
    if (items.length > routesMax) this.#yaml.complain(place, `must hold at most ${routesMax} routes`)
    const routes: GatewayRoute[] = []
    const seen = new Map<string, string>()
    for (const item of items) {
      const route = this.#route(item, defaults)
      if (route === undefined) continue
      const earlier = seen.get(route.pattern.text)
      if (earlier !== undefined) this.#yaml.complain(item, `has the match of ${earlier}, which decides first`)
      seen.set(route.pattern.text, item.path)
      routes.push(route)
    }
    return routes
  }

  #route(item: Place, defaults: WrittenOptions): GatewayRoute | undefined {
    const members = this.#yaml.members(item, ['match', 'bypass', ...optionNames])
    const match = members.get('match')
    if (match === undefined) this.#yaml.complain(item, "must have a match, such as 'POST /payments'")
    const pattern = this.#parsed(match, parsePattern)
    if (this.#boolean(members.get('bypass')) === true) {
      for (const name of optionNames) {
        const extra = members.get(name)
        if (extra !== undefined) this.#yaml.complain(extra, 'has no meaning beside bypass: true')
      }
      return pattern && { kind: 'bypass', pattern }
    }
    const own = this.#written(members)
    const inherited = { ...defaults }
    if (own.preset !== undefined) for (const name of presetNames) delete inherited[name]
    if (match === undefined || pattern === undefined) return undefined
    const methods = [...pattern.methods]
    if (!methods.every((method) => guardableMethods.has(method))) {
      this.#yaml.complain(match, 'must name POST, PATCH, PUT or DELETE; others are never protected')
      return undefined
    }
    const options = this.#options(item, members, { ...inherited, ...own }, methods)
    return { kind: 'protected', pattern, options }
  }

  /** The options of one map; each that breaks a rule by itself is complained of and left out. */
  #written(members: ReadonlyMap<string, Place>): WrittenOptions {
    const written: WrittenOptions = {}
    const take = (name: string, place: Place, value: unknown): void => {
      if (this.#accepts(place, () => resolve({ [name]: value }))) Object.assign(written, { [name]: value })
    }
    for (const name of [...durationNames, ...wordNames]) {
      const place = members.get(name)
      const value = place && this.#yaml.scalar(place)
      if (place !== undefined && value !== undefined) take(name, place, value)
    }
    const required = this.#boolean(members.get('required'))
    if (required !== undefined) written.required = required
    for (const name of bytesNames) {
      const bytes = this.#parsed(members.get(name), parseBytes)
      if (bytes !== undefined) written[name] = bytes
    }
    const wait = this.#parsed(members.get('inFlight'), parseInFlight)
    if (wait !== undefined) written.wait = wait
    const upstreamTimeoutMs = this.#duration(members.get('upstreamTimeout'), upstreamTimeoutBounds)
    if (upstreamTimeoutMs !== undefined) written.upstreamTimeoutMs = upstreamTimeoutMs
    return written
  }

  /** The options together: a rule that is broken only beside another option is complained of there. */
  #options(
    place: Place,
    members: ReadonlyMap<string, Place>,
    written: WrittenOptions,
    methods: readonly string[],
  ): RouteOptions {
    const { upstreamTimeoutMs = upstreamTimeoutMsDefault, ...options } = written
    try {
      // The lease must be renewed for as long as the upstream may take.
      const timeout = Math.max(defaultPolicy.timeoutMs, upstreamTimeoutMs + 60_000)
      const resolved = resolve({ ...options, methods, timeout })
      if (resolved.policy.leaseMs >= resolved.policy.retentionMs) {
        throw new InvalidOptionError('lease', 'must be shorter than retention')
      }
      return { ...resolved, upstreamTimeoutMs }
    } catch (error) {
      if (!(error instanceof InvalidOptionError)) throw error
      const culprit = members.get(error.option) ?? members.get(companions[error.option] ?? '') ?? place
      this.#yaml.complain(culprit, `conflicts with another option: ${error.option} ${error.rule}`)
      return defaultRouteOptions
    }
  }

  #cors(place: Place | undefined): string[] {
    if (place === undefined) return []
    const origins = this.#yaml.items(place).map((item) => this.#parsed(item, parseOrigin))
    return origins.filter((origin) => origin !== undefined)
  }

  #listen(place: Place | undefined): GatewayConfig['listen'] | undefined {
    if (place === undefined) return undefined
    const members = this.#yaml.members(place, ['host', 'port'])
    return {
      host: this.#parsed(members.get('host'), parseHost) ?? defaultListen.host,
      port: this.#parsed(members.get('port'), parsePort) ?? defaultListen.port,
    }
  }

  #principal(place: Place | undefined): GatewayPrincipal | undefined {
    if (place === undefined) return undefined
    if (place.node !== null && 'items' in place.node) {
      const header = this.#yaml.members(place, ['header']).get('header')
      if (header === undefined) this.#yaml.complain(place, "must have a header, or be 'anonymous'")
      return this.#parsed(header, (text) => parsePrincipal(`header:${text}`))
    }
    return this.#parsed(place, parsePrincipal)
  }

  #parsed<Value extends object | string | number>(
    place: Place | undefined,
    parse: (text: string) => Value | { readonly rule: string },
  ): Value | undefined {
    const value = place && this.#yaml.scalar(place)
    if (place === undefined || value === undefined) return undefined
    const parsed = parse(String(value))
    if (typeof parsed === 'object' && 'rule' in parsed) {
      this.#yaml.complain(place, (parsed as { rule: string }).rule)
      return undefined
    }
    return parsed as Value
  }

  #boolean(place: Place | undefined): boolean | undefined {
    const value = place && this.#yaml.scalar(place)
    if (place === undefined || value === undefined) return undefined
    const text = String(value)
    if (text === 'true' || text === 'false') return text === 'true'
    this.#yaml.complain(place, 'must be true or false')
    return undefined
  }

  #duration(place: Place | undefined, bounds: DurationBounds): number | undefined {
    const value = place && this.#yaml.scalar(place)
    if (place === undefined || value === undefined) return undefined
    let milliseconds: number | undefined
    this.#accepts(place, () => {
      milliseconds = toMilliseconds(place.path, value as Duration, bounds)
    })
    return milliseconds
  }

  #accepts(place: Place, check: () => void): boolean {
    try {
      check()
      return true
    } catch (error) {
      if (!(error instanceof InvalidOptionError)) throw error
      this.#yaml.complain(place, error.rule)
      return false
    }
  }
}

const engine: HttpEngine = {
  policy: (options) => resolvePolicy(options),
  begin: () => Promise.reject(new Error('A configuration runs nothing.')),
  inTransactions: () => {
    throw new Error('A service behind the gateway cannot take part in a transaction.')
  },
  digest: () => '',
}

/** Checks options by the rules of the adapters. @throws InvalidOptionError */
function resolve(
  options: Omit<IdempotentOptions<never>, 'principal'>,
): Pick<RouteOptions, 'guard' | 'policy'> {
  const { guard, policy } = resolveOptions(engine, { ...options, principal: 'anonymous' })
  return { guard, policy }
}

/** Methods that are never protected: repeating them changes nothing (RFC 9110, section 9.2.1). */
export const safeMethods: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'OPTIONS',
  'TRACE',
  'QUERY',
  'CONNECT',
])

type Parsed<Value> = Value | { readonly rule: string }

/** Reads an upstream's address. */
export function parseUpstream(text: string): Parsed<string> {
  if (!URL.canParse(text)) return { rule: 'must be a URL, such as http://localhost:3000' }
  const url = new URL(text)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return { rule: 'must be an http or https URL' }
  if (url.username !== '' || url.password !== '') return { rule: 'must not hold a user name or password' }
  if (url.search !== '' || url.hash !== '' || /[?#]/.test(text)) {
    return { rule: 'must not hold a query or fragment' }
  }
  if (url.pathname !== '/') return { rule: 'must not hold a path: paths are passed on as they are' }
  return url.origin
}

/** Reads `memory:`, `sqlite:./file.db` or `redis://host:6379/0`. */
export function parseStore(text: string): Parsed<StoreAddress> {
  if (text === 'memory:' || text === 'memory') return { kind: 'memory' }
  if (/^rediss?:/.test(text)) {
    const address = parseRedisAddress(text)
    return 'rule' in address ? address : { kind: 'redis', ...address }
  }
  const file = /^sqlite:(?:\/\/(?=\/))?(.+)$/.exec(text)?.[1]
  if (file === undefined) return { rule: 'must be sqlite:./file.db, redis://host:6379/0 or memory:' }
  if (file === ':memory:') return { rule: 'must be memory: for a store that ends with the process' }
  if (file.includes('\0') || file.includes('?')) return { rule: 'must be a plain file name after sqlite:' }
  return { kind: 'sqlite', file }
}

/** Reads `header:<name>` or `anonymous`. */
export function parsePrincipal(text: string): Parsed<GatewayPrincipal> {
  if (text === 'anonymous') return { kind: 'anonymous' }
  const name = /^header: ?([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64})$/.exec(text)?.[1]
  if (name === undefined) return { rule: "must be a header, such as 'header: authorization', or 'anonymous'" }
  return { kind: 'header', name: name.toLowerCase() }
}

function parseOrigin(text: string): Parsed<string> {
  if (text === '*' || (URL.canParse(text) && new URL(text).origin === text)) return text
  return { rule: "must be an origin, such as https://shop.example, or '*'" }
}

function parseNamespace(text: string): Parsed<string> {
  return /^[A-Za-z0-9._-]{1,64}$/.test(text) ? text : { rule: 'must be 1 to 64 letters, digits, ., _ and -' }
}

/** Reads a TCP port; 0 asks the system for a free one. */
export function parsePort(text: string): Parsed<number> {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : -1
  return port >= 0 && port <= 65_535 ? port : { rule: 'must be a whole number from 0 to 65535' }
}

/** Reads a host name or an IP address to listen on. */
export function parseHost(text: string): Parsed<string> {
  return /^[A-Za-z0-9.:_-]{1,253}$/.test(text) ? text : { rule: 'must be a host name or an IP address' }
}

/** Reads an amount of octets: a number, or one with KB, MB, KiB or MiB. */
function parseBytes(text: string): Parsed<number> {
  const [, amount, unit = ''] = /^(\d{1,12})\s?(KB|MB|KiB|MiB)?$/.exec(text) ?? []
  const units: Record<string, number> = { KB: 1_000, MB: 1_000_000, KiB: 1_024, MiB: mebibyte }
  const bytes = amount === undefined ? 0 : Number(amount) * (units[unit] ?? 1)
  if (bytes < 1 || bytes > bodyBytesMax) {
    return { rule: "must be 1 to 64 MiB, as a number of bytes or such as '512KiB' or '5MB'" }
  }
  return bytes
}

/** Reads `refuse` or `wait 5s` as how long a duplicate waits. */
function parseInFlight(text: string): Parsed<number> {
  if (text === 'refuse') return 0
  const rule = "must be 'refuse', or 'wait' with a duration of at most 10m, such as 'wait 5s'"
  const duration = /^wait (\S{1,32})$/.exec(text)?.[1]
  if (duration === undefined) return { rule }
  try {
    return toMilliseconds('inFlight', duration as Duration, { min: '1ms', max: '10m' })
  } catch {
    return { rule }
  }
}
