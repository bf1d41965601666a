/** The address of a server of Redis or Valkey, taken apart so that each client library reads the same. */

export interface RedisAddress {
  /** Whether TLS is spoken (`rediss:`). */
  readonly tls: boolean
  readonly host: string
  readonly port: number
  readonly username: string | undefined
  readonly password: string | undefined
  /** Its number. Default 0. */
  readonly database: number
}

const portDefault = 6_379
const charactersMax = 4_096

/** Reads `redis://user:password@host:6379/0`, or `rediss:` for TLS. What breaks a rule is never repeated. */
export function parseRedisAddress(text: string): RedisAddress | { readonly rule: string } {
  const rule = { rule: 'must be redis://host:6379/0, or rediss:// for TLS, in at most 4,096 characters' }
  if (text.length > charactersMax || !/^rediss?:\/\//.test(text) || !URL.canParse(text)) return rule
  const url = new URL(text)
  if (url.hostname === '') return rule
  if (url.search !== '' || url.hash !== '' || /[?#]/.test(text)) {
    return { rule: 'must not hold a query or fragment; in a password write %3F for ? and %23 for #' }
  }
  const [, database] = /^\/?(\d{0,5})$/.exec(url.pathname) ?? []
  if (database === undefined) return { rule: 'must end with the number of a database, such as /0' }
  try {
    return {
      tls: url.protocol === 'rediss:',
      host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
      port: url.port === '' ? portDefault : Number(url.port),
      username: decoded(url.username),
      password: decoded(url.password),
      database: Number(database),
    }
  } catch {
    return { rule: 'holds a % without two hexadecimal digits: write %25 for it' }
  }
}

function decoded(part: string): string | undefined {
  return part === '' ? undefined : decodeURIComponent(part)
}

/** For people: without user name and password. */
export function shownRedisAddress({ tls, host, port, database }: RedisAddress): string {
  return `${tls ? 'rediss' : 'redis'}://${host.includes(':') ? `[${host}]` : host}:${port}/${database}`
}
