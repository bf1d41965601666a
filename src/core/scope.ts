/** Who asks and for what: the part of a record's identity that is not the key. */
import { type Digest, digestOf, first128Bits } from './bytes.ts'
import { InvalidPrincipalError } from './errors.ts'
import type { RecordId } from './record.ts'

/** Two calls can meet in one record only when all three are equal, character by character. */
export interface Scope {
  /** Separates applications that share a store. */
  readonly namespace: string
  /** Who asks: tenant or user. */
  readonly principal: string
  /** The operation's name. */
  readonly operation: string
}

const tagCharacters = 12
const principalCharactersMax = 1024

/**
 * The record id of a key in its scope: 128 bits of the digest of the length-prefixed tuple, so that no separator inside a part
 * can make two tuples one ("a" + "b:c" is not "a:b" + "c").
 *
 * @example
 * recordId(digest, { namespace: 'shop', principal: user.id, operation: 'charge' }, key) // 22 characters
 */
export function recordId(digest: Digest, scope: Scope, key: string): RecordId {
  const { namespace, principal, operation } = scope
  return first128Bits(digestOf(digest, ['record', namespace, principal, operation, key])) as RecordId
}

/** A short digest of namespace and principal (12 characters, 72 bits), to find one principal's records. */
export function principalTag(digest: Digest, namespace: string, principal: string): string {
  return digestOf(digest, ['principal', namespace, principal]).slice(0, tagCharacters)
}

/**
 * Checks what a resolver returned as principal and returns it unchanged: no trimming, no case folding, no
 * Unicode normalisation. An unusable principal is never replaced by a shared one.
 *
 * @throws InvalidPrincipalError unless it is a well-formed, non-blank string of at most 1024 characters
 * @example
 * const principal = checkPrincipal(request.user?.id)
 */
export function checkPrincipal(principal: unknown): string {
  if (principal === undefined || principal === null) throw new InvalidPrincipalError('is missing')
  if (typeof principal !== 'string') throw new InvalidPrincipalError('must be a string')
  if (principal === '') throw new InvalidPrincipalError('must not be empty')
  if (principal.length > principalCharactersMax) {
    throw new InvalidPrincipalError(`must have at most ${principalCharactersMax} characters`)
  }
  if (principal.trim() === '') throw new InvalidPrincipalError('must not be blank')
  if (!principal.isWellFormed()) throw new InvalidPrincipalError('must be well-formed Unicode')
  return principal
}
