/** Entries as text, for storages that hold nothing else, and a look at what comes back from any storage. */
import { type Entry, KeeperError } from './keeper.ts'

/** What a storage gives back, before anybody looked at it. */
type Unread<Shape> = { readonly [Name in keyof Shape]?: unknown }

/** Text is kept as it is; octets in base64. */
export function entryText({ call, isShared, doneAt }: Entry): string {
  const { body, ...rest } = call
  return JSON.stringify({
    ...rest,
    ...(typeof body === 'string' ? { text: body } : body && { octets: toBase64(body) }),
    isShared,
    doneAt,
  })
}

/** @throws KeeperError for what is no entry */
export function entryOf(text: string): Entry {
  try {
    const { text: string, octets, ...call } = JSON.parse(text) as Record<string, unknown>
    return checkedEntry({ ...call, body: octets === undefined ? string : fromBase64(octets as string) })
  } catch {
    // The cause would quote the entry.
    throw new KeeperError('damaged')
  }
}

/** @throws KeeperError for what is no entry */
export function checkedEntry(found: Unread<Entry['call'] & Omit<Entry, 'call'>>): Entry {
  const { intent, key, method, url, contentType, fields, body, createdAt, isShared, doneAt } = found
  const isWhole =
    [intent, key, method, url].every((text) => typeof text === 'string') &&
    (contentType === null || typeof contentType === 'string') &&
    (fields === undefined || (typeof fields === 'object' && fields !== null)) &&
    (body === undefined || typeof body === 'string' || body instanceof Uint8Array) &&
    Number.isFinite(createdAt) &&
    (isShared === undefined || typeof isShared === 'boolean') &&
    (doneAt === undefined || Number.isFinite(doneAt))
  if (!isWhole) throw new KeeperError('damaged')
  const call = { intent, key, method, url, contentType, fields, body, createdAt } as Entry['call']
  return { call, isShared: isShared as boolean | undefined, doneAt: doneAt as number | undefined }
}

/** Arguments of one call; engines allow no more than some ten thousand. */
const sliceMax = 8_192

function toBase64(octets: Uint8Array): string {
  let binary = ''
  for (let at = 0; at < octets.length; at += sliceMax) {
    binary += String.fromCharCode(...octets.subarray(at, at + sliceMax))
  }
  return btoa(binary)
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))
}
