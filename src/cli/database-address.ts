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
  if ('rule' in parsed || parsed.kind === 'memory') {
    throw usageError(
      `${option} must be postgres://.., mysql://.. or sqlite:./file.db; what is in memory ends with its process.`,
    )
  }
  return { dialect: 'sqlite', file: parsed.file }
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
