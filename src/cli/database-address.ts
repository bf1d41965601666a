/** Addresses of databases, as options of commands give them. */
import { parseStore } from '../gateway/config.ts'
import { usageError } from './failure.ts'

export type DatabaseAddress =
  | { readonly dialect: 'postgres' | 'mysql'; readonly url: URL }
  | { readonly dialect: 'sqlite'; readonly file: string }

const charactersMax = 4_096

/**
 * Reads `postgres://..`, `mysql://..` (also as `mariadb:`) or `sqlite:./file.db`.
 *
 * @param option that the address is of, such as `--store`
 * @throws CommandError about usage
 */
export function readDatabaseAddress(option: string, address: string): DatabaseAddress {
  if (address.length > charactersMax || address.includes('\0')) {
    throw usageError(`${option} must be an address of at most 4,096 characters.`)
  }
  if (/^postgres(?:ql)?:/.test(address)) return { dialect: 'postgres', url: readUrl(option, address) }
  if (/^(?:mysql|mariadb):/.test(address)) {
    return { dialect: 'mysql', url: readUrl(option, address.replace(/^mariadb:/, 'mysql:')) }
  }
  const parsed = parseStore(address)
  if ('rule' in parsed || parsed.kind !== 'sqlite') {
    throw usageError(
      `${option} must be postgres://.., mysql://.. or sqlite:./file.db; what is in memory ends with its process.`,
    )
  }
  return { dialect: 'sqlite', file: parsed.file }
}

/** A table of DynamoDB; what is not said is left to the SDK or to the default. */
export interface DynamodbAddress {
  readonly region: string | undefined
  readonly table: string | undefined
  readonly endpoint: string | undefined
}

/**
 * Reads `dynamodb://region/table`, with `?endpoint=http://127.0.0.1:8000` for a server that is not Amazon's.
 * `undefined`: the address is of another kind.
 *
 * @throws CommandError about usage
 */
export function readDynamodbAddress(option: string, address: string): DynamodbAddress | undefined {
  if (!address.startsWith('dynamodb:')) return undefined
  const parts = /^dynamodb:\/\/([a-z0-9-]{0,64})(?:\/([\w.-]{0,255}))?(?:\?(.{0,1000}))?$/.exec(address)
  const rule = `${option} must be dynamodb://region/table, such as dynamodb://eu-central-1/retrysafe_records, with ?endpoint=http://host:port for a server that is not Amazon's; credentials are found as the SDK does.`
  if (parts === null) throw usageError(rule)
  const [, region = '', table = '', query = ''] = parts
  const parameters = new URLSearchParams(query)
  const endpoint = parameters.get('endpoint') ?? undefined
  const isKnown = [...parameters.keys()].every((name) => name === 'endpoint')
  const isUrl = endpoint === undefined || (/^https?:/.test(endpoint) && URL.canParse(endpoint))
  if (!isKnown || !isUrl) throw usageError(rule)
  return { region: region || undefined, table: table || undefined, endpoint }
}

function readUrl(option: string, address: string): URL {
  if (!URL.canParse(address) || new URL(address).hostname === '') {
    throw usageError(
      `${option} must be a URL with a host, such as postgres://user:password@host:5432/database.`,
    )
  }
  const url = new URL(address)
  if (![url.username, url.password, url.pathname].every(isEncoded)) {
    throw usageError(`${option} holds a % without two hexadecimal digits: write %25 for it.`)
  }
  if (url.searchParams.get('multipleStatements') === 'true') {
    throw usageError(`${option} must not allow multipleStatements.`)
  }
  return url
}

function isEncoded(part: string): boolean {
  return !/%(?![0-9a-f]{2})/i.test(part)
}

/** A text, such as the words of a client library, without the password of an address, however it is written. */
export function withoutPassword(text: string, address: string): string {
  const { password = '' } = URL.canParse(address) ? new URL(address) : {}
  if (password === '') return text
  return [password, decoded(password)].reduce((masked, secret) => masked.replaceAll(secret, '***'), text)
}

function decoded(password: string): string {
  try {
    return decodeURIComponent(password)
  } catch {
    return password
  }
}
