/** The one table of Redis' errors, by their first word: what each says about the command that it answered. */
import { IdempotencyError, StoreError, type StoreFailure } from '../../core/errors.ts'

type Meaning = readonly [failure: StoreFailure, says: string]

/** The server answered: nothing of the command was done. What is not listed is `unrecognised`. */
const meanings: Readonly<Record<string, Meaning>> = {
  BUSY: ['transient', 'The server is busy with somebody’s script.'],
  CLUSTERDOWN: ['transient', 'The cluster does not serve this slot now.'],
  LOADING: ['transient', 'The server is reading its data.'],
  MASTERDOWN: ['wrong-node', 'This replica has lost its master.'],
  MISCONF: ['transient', 'The server cannot save its data, and refuses writes.'],
  NOREPLICAS: ['transient', 'The server has too few replicas, and refuses writes.'],
  NOSCRIPT: ['transient', 'The server has forgotten a script.'],
  OOM: ['transient', 'The server is out of memory (maxmemory), and refuses writes.'],
  TRYAGAIN: ['transient', 'The slot of this key is being moved.'],
  UNKILLABLE: ['transient', 'The server is busy with somebody’s script.'],
  ASK: ['wrong-node', 'Another node of the cluster has this key: give the store a cluster client.'],
  MOVED: ['wrong-node', 'Another node of the cluster has this key: give the store a cluster client.'],
  READONLY: ['wrong-node', 'This server is a read-only replica.'],
  CROSSSLOT: ['permanent', 'Keys of several slots were sent at once: give the store a cluster client.'],
  DENIED: ['permanent', 'The server refuses clients of this host (protected mode).'],
  NOAUTH: ['permanent', 'The server asks for a password.'],
  NOPERM: ['permanent', 'The user may not do this: see the ACL in the documentation of the store.'],
  NOPROTO: ['permanent', 'The server does not speak the protocol of the client.'],
  WRONGPASS: ['permanent', 'The server refused the login.'],
  WRONGTYPE: [
    'permanent',
    'Something else is stored under the key of a record. It is not treated as absent.',
  ],
}

/** Errors that all begin with `ERR`. */
const byText: readonly (readonly [text: RegExp, meaning: Meaning])[] = [
  [/max number of clients/i, ['transient', 'The server has too many clients.']],
  [/Client sent AUTH|invalid password/i, ['permanent', 'The server refused the login.']],
  [/unknown command/i, ['permanent', 'The server does not know a command; it must be Redis 6.2 or newer.']],
  // Of a command in a script.
  [
    /The user executing the script can't|ACL failure in script/i,
    ['permanent', 'The user may not do this: see the ACL in the documentation of the store.'],
  ],
  [/DB index is out of range/i, ['permanent', 'The database does not exist.']],
]

/** Names, codes and words of errors of client libraries that come before anything was sent. */
const neverSent: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENOENT',
  'ClientClosedError',
  'ClientOfflineError',
  'ConnectionTimeoutError',
])
const neverSentText = /Stream isn't writeable|The client is closed|The client is offline|queue is full/

/** The server's own error. `undefined` for an error of a client library or a socket. */
function answered(error: Error): Meaning | undefined {
  const text = wordsOf(error)
  const [word = ''] = text.split(/[ :]/, 1)
  const found = Object.hasOwn(meanings, word) ? meanings[word] : undefined
  if (found !== undefined) return found
  const other = byText.find(([form]) => form.test(text))
  if (other !== undefined && text.startsWith('ERR')) return other[1]
  const isReply =
    error.name === 'ReplyError' || /ErrorReply|SimpleError|BlobError/.test(error.constructor.name)
  return isReply || /^[A-Z]{3,}$/.test(word)
    ? ['unrecognised', `The server failed with an error that is not known: ${firstWord(word)}.`]
    : undefined
}

/** Upstash puts the answer of the server behind words of its own. */
function wordsOf({ message }: Error): string {
  return message.replace(/^Command failed: /, '').replace(/^-/, '')
}

function firstWord(word: string): string {
  return /^[A-Z]{3,20}$/.test(word) ? word : 'no code'
}

/** An error text that a script gave for one key. */
export function keyError(text: string): StoreError {
  const cause = new Error(text.replace(/^-/, ''))
  const meaning = answered(cause) ?? ['unrecognised', 'The server failed on a key.']
  return new StoreError(meaning[0], meaning[1])
}

/** The server no longer has the script: it is to be sent whole. */
export function isNoScript(error: unknown): boolean {
  return error instanceof Error && wordsOf(error).startsWith('NOSCRIPT')
}

/** A client library's error as the error of a store. Its words are not kept: they may hold a command. */
export function asStoreError(error: unknown): IdempotencyError {
  if (error instanceof IdempotencyError) return error
  const layers = layersOf(error)
  for (const layer of layers) {
    const meaning = answered(layer)
    if (meaning !== undefined) return new StoreError(meaning[0], meaning[1], { cause: withoutCommand(layer) })
  }
  const cause = withoutCommand(layers[0])
  if (layers.some(isNeverSent)) {
    return new StoreError('transient', 'The server cannot be reached.', { cause })
  }
  return new StoreError('lost', 'The connection was lost, or the server did not answer.', { cause })
}

function isNeverSent(error: Error): boolean {
  const { code, name, message } = error as Error & { code?: unknown }
  return (
    neverSent.has(String(code)) ||
    neverSent.has(name) ||
    neverSent.has(error.constructor.name) ||
    neverSentText.test(message)
  )
}

const causesMax = 5

/** ioredis puts the last error of a cluster's nodes into `lastNodeError`, others the reason into `cause`. */
function layersOf(error: unknown): Error[] {
  const layers: Error[] = []
  let at = error
  while (at instanceof Error && layers.length < causesMax) {
    layers.push(at)
    at = (at as { lastNodeError?: unknown }).lastNodeError ?? at.cause
  }
  return layers
}

/** Client libraries put the command with its values into their errors. */
function withoutCommand(error: Error | undefined): Error | undefined {
  if (error === undefined) return undefined
  const { code } = error as { code?: unknown }
  const words = [
    error.name,
    typeof code === 'string' ? code : undefined,
    answered(error) && firstWord(wordsOf(error).split(' ')[0] ?? ''),
  ]
  return new Error(`The client library failed: ${words.filter((word) => word !== undefined).join(' ')}.`)
}
