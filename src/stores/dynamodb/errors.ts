/**
 * The one table of DynamoDB's errors, by name: what each says about a request. None of them means that a record is
 * absent.
 */
import { IdempotencyError, StoreError, type StoreFailure } from '../../core/errors.ts'

interface Meaning {
  readonly failure: StoreFailure
  readonly says: string
}

const transient = (says: string): Meaning => ({ failure: 'transient', says })
const permanent = (says: string): Meaning => ({ failure: 'permanent', says })
const lost = (says: string): Meaning => ({ failure: 'lost', says })

const throttled = transient('The server has no capacity for the request now.')
const noLogin = permanent('The server does not accept the credentials of the client.')
const failed = lost('The server failed while it worked on the request.')
const noCredentials = permanent('The client has no credentials, or could not get any.')

/** By name, or by code where the error is of a socket. What is not listed is `unrecognised`. */
const meanings: Readonly<Record<string, Meaning>> = {
  ProvisionedThroughputExceededException: throttled,
  RequestLimitExceeded: throttled,
  ThrottlingException: throttled,
  Throttling: throttled,
  ThrottlingError: throttled,
  LimitExceededException: transient('The account is over a limit of the server.'),
  ResourceInUseException: transient('The table is being made or changed.'),
  TransactionConflictException: transient('Another transaction is at work on the record.'),
  TransactionConflict: transient('Another transaction is at work on a record or an item.'),
  ReplicatedWriteConflictException: transient('A write of another region is at work on the record.'),
  // The same transaction, sent before, is still at work: it may commit.
  TransactionInProgressException: lost('The transaction was sent before and is still at work.'),
  IdempotentParameterMismatchException: lost('A transaction was sent before under the same token.'),
  InternalServerError: failed,
  InternalServerErrorException: failed,
  InternalFailure: failed,
  ServiceUnavailable: failed,
  ServiceUnavailableException: failed,
  ResourceNotFoundException: permanent(
    'The table of records is missing. Run `npx retrysafe migrate`, or name the table and region it is in.',
  ),
  TableNotFoundException: permanent('The table of records is missing. Run `npx retrysafe migrate`.'),
  AccessDeniedException: permanent('The user may not use the table of records.'),
  UnrecognizedClientException: noLogin,
  InvalidSignatureException: noLogin,
  IncompleteSignatureException: noLogin,
  MissingAuthenticationTokenException: noLogin,
  IncompleteSignature: noLogin,
  ExpiredTokenException: permanent('The credentials of the client have expired.'),
  ExpiredToken: permanent('The credentials of the client have expired.'),
  RequestExpired: transient('The server takes the time of the request for a wrong one.'),
  CredentialsProviderError: noCredentials,
  TokenProviderError: noCredentials,
  ItemCollectionSizeLimitExceededException: permanent('A partition of the table is full.'),
  ItemCollectionSizeLimitExceeded: permanent('A partition of the table is full.'),
  ValidationException: permanent('The server refused a request: the table has another form, most likely.'),
  ValidationError: permanent('The server refused an entry of the transaction.'),
  SerializationException: permanent('The server could not read a request.'),
  ERR_INVALID_URL: permanent('The endpoint of the client is no URL.'),
  TimeoutError: lost('The server did not answer in time.'),
  AbortError: lost('The server did not answer in time.'),
  ECONNRESET: lost('The connection was lost.'),
  EPIPE: lost('The connection was lost.'),
  ETIMEDOUT: lost('The connection was lost.'),
}

/** Errors of sockets that come before anything of the request was sent. */
const neverSent: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
])

const conditionName = 'ConditionalCheckFailedException'
const cancelledName = 'TransactionCanceledException'

interface SdkError {
  readonly name?: unknown
  readonly code?: unknown
  readonly message?: unknown
  readonly Item?: unknown
  readonly CancellationReasons?: unknown
  readonly $metadata?: {
    readonly httpStatusCode?: unknown
    readonly requestId?: unknown
    readonly attempts?: unknown
  }
}

/** Why one entry of a transaction did not go through. */
export interface CancellationReason {
  readonly Code?: string | undefined
  readonly Item?: unknown
}

/** The condition of a request was not met. */
export function isConditionFailure(error: unknown): boolean {
  return asSdkError(error).name === conditionName
}

/** The item that the condition was not met by; `undefined` where there is none, or an emulator does not show it. */
export function itemOf(error: unknown): unknown {
  return asSdkError(error).Item
}

/** Why a transaction was cancelled, entry by entry; `undefined` for any other error. */
export function cancellationReasons(error: unknown): readonly CancellationReason[] | undefined {
  const { name, CancellationReasons: reasons } = asSdkError(error)
  if (name !== cancelledName) return undefined
  return Array.isArray(reasons) ? (reasons as readonly CancellationReason[]) : []
}

/** The error of a transaction one entry of which failed for this reason. */
export function reasonAsStoreError(code: string): StoreError {
  const meaning = listed(code) ?? listed(`${code}Exception`)
  if (meaning === undefined) return new StoreError('unrecognised', 'The server cancelled the transaction.')
  return new StoreError(meaning.failure, meaning.says)
}

/** The server refused what was sent, or whom it was sent by, in the only try that there was. */
export function isRefusedEntry(error: unknown): boolean {
  const isAboutEntry =
    asSdkError(error).name === 'ValidationException' || isMissingTable(error) || isDenied(error)
  return isAboutEntry && wasTriedOnce(error)
}

/** The SDK sent the request once only. */
export function wasTriedOnce(error: unknown): boolean {
  const attempts = asSdkError(error).$metadata?.attempts
  return typeof attempts !== 'number' || attempts <= 1
}

/** The table is not there. */
export function isMissingTable(error: unknown): boolean {
  const { name } = asSdkError(error)
  return name === 'ResourceNotFoundException' || name === 'TableNotFoundException'
}

/** The table is there already. */
export function isTableInUse(error: unknown): boolean {
  return asSdkError(error).name === 'ResourceInUseException'
}

/** The user has no right to what was asked. */
export function isDenied(error: unknown): boolean {
  return asSdkError(error).name === 'AccessDeniedException'
}

/**
 * An error of the SDK as the error of a store. The SDK shows the last of its tries: where it made several, one
 * before may have been applied, whatever the last one says.
 */
export function asStoreError(error: unknown): IdempotencyError {
  if (error instanceof IdempotencyError) return error
  const cause = withoutValues(error)
  const meaning = meaningOf(asSdkError(error))
  if (meaning === undefined) return new StoreError('unrecognised', 'The request failed.', { cause })
  const failure = meaning.failure === 'transient' && !wasTriedOnce(error) ? 'lost' : meaning.failure
  return new StoreError(failure, meaning.says, { cause })
}

function meaningOf({ name, code, message }: SdkError): Meaning | undefined {
  // The one mistake of a set-up that the SDK has no name for.
  if (message === 'Region is missing') return permanent('The client has no region.')
  if (neverSent.has(code)) return transient('The server cannot be reached.')
  return listed(name) ?? listed(code)
}

function listed(name: unknown): Meaning | undefined {
  return typeof name === 'string' && Object.hasOwn(meanings, name) ? meanings[name] : undefined
}

const denied = /\bdynamodb:\w+/

/** What the SDK says may hold items, keys of tables, or names of accounts: only what is known to be none is kept. */
function withoutValues(error: unknown): Error {
  const { name, code, message, $metadata } = asSdkError(error)
  const right =
    name === 'AccessDeniedException' && typeof message === 'string' ? denied.exec(message)?.[0] : undefined
  const status = $metadata?.httpStatusCode
  const parts = [word(name), word(code), typeof status === 'number' ? `HTTP ${status}` : undefined, right]
  const says = parts.filter((part) => part !== undefined).join(', ')
  const request = word($metadata?.requestId)
  return new Error(
    `The client library failed${says === '' ? '' : `: ${says}`}${request === undefined ? '' : ` (request ${request})`}.`,
  )
}

/** Names and codes only: no text that could hold anything else. */
function word(value: unknown): string | undefined {
  return typeof value === 'string' && value !== 'Error' && /^[\w.-]{1,80}$/.test(value) ? value : undefined
}

function asSdkError(error: unknown): SdkError {
  return typeof error === 'object' && error !== null ? error : {}
}
