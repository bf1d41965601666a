/** Request bodies of other libraries as octets that every attempt sends. */
import { InvalidOptionError } from '../core/errors.ts'

/** Nothing larger is held in memory for the sake of another attempt: 64 MiB. */
export const bodyOctetsMax: number = 64 * 2 ** 20

type Octets = Uint8Array<ArrayBuffer>

export interface WholeBody {
  /** A copy of its own: what the caller writes into its buffer later is not sent. */
  readonly octets: string | Octets | undefined
  /** What the body says of itself: the boundary of a form, the type of a blob. */
  readonly contentType: string | undefined
}

/** Streams of Node, also the old ones of npm's `form-data`. */
interface EventedStream {
  on(event: string, listener: (value: never) => void): unknown
  pipe: unknown
  resume?(): unknown
  destroy?(): unknown
}

type Chunks = AsyncIterable<unknown> | Iterable<unknown>

/** Whether a body can be read only once. */
export function isOneShot(body: unknown): boolean {
  if (isEvented(body) || body instanceof ReadableStream) return true
  return isChunks(body) && !isForm(body) && !(body instanceof URLSearchParams)
}

/**
 * Reads a body to its end. What a library turns into octets by itself, such as a plain object, is not for here.
 *
 * @param ended lets go of a stream that is still read when it is aborted, as nobody wants its octets any more
 * @throws InvalidOptionError where it has more than `bodyOctetsMax` octets, or is nothing that is known
 */
export async function wholeBody(body: unknown, ended?: AbortSignal): Promise<WholeBody> {
  if (body === undefined || body === null) return { octets: undefined, contentType: undefined }
  if (typeof body === 'string') return { octets: body, contentType: undefined }
  if (body instanceof ArrayBuffer) return { octets: new Uint8Array(body.slice()), contentType: undefined }
  if (ArrayBuffer.isView(body)) return { octets: octetsOf(body).slice(), contentType: undefined }
  if (isForm(body)) return await read(nativeForm(body))
  if (body instanceof Blob || body instanceof URLSearchParams) return await read(body)
  if (body instanceof ReadableStream) {
    return { octets: await joined(chunksOf(body, ended)), contentType: undefined }
  }
  if (isEvented(body)) ended?.addEventListener('abort', () => body.destroy?.())
  // npm's `form-data` knows its boundary; its stream is of the old kind.
  if (isEvented(body) && !isChunks(body)) {
    const headers = (body as { getHeaders?: () => Record<string, string> }).getHeaders?.()
    return { octets: await joinedEvents(body), contentType: headers?.['content-type'] }
  }
  if (isChunks(body)) return { octets: await joined(body), contentType: undefined }
  throw new InvalidOptionError('body', 'must be text, octets, a form, or a stream of octets')
}

async function read(body: Blob | FormData | URLSearchParams): Promise<WholeBody> {
  if (body instanceof Blob && body.size > bodyOctetsMax) throw tooLarge()
  const whole = new Response(body)
  const contentType = whole.headers.get('content-type') ?? undefined
  return { octets: new Uint8Array(await whole.arrayBuffer()), contentType }
}

/** A form of another copy of undici is no form to this platform. */
function nativeForm(form: FormData): FormData {
  if (form instanceof FormData) return form
  const native = new FormData()
  for (const [name, value] of form as Iterable<[string, string | File]>) {
    if (typeof value === 'string') native.append(name, value)
    else native.append(name, value, value.name)
  }
  return native
}

function isForm(body: unknown): body is FormData {
  return isChunks(body) && (body as { [Symbol.toStringTag]?: string })[Symbol.toStringTag] === 'FormData'
}

function isChunks(body: unknown): body is Chunks {
  return (
    typeof body === 'object' &&
    body !== null &&
    !ArrayBuffer.isView(body) &&
    (Symbol.asyncIterator in body || Symbol.iterator in body)
  )
}

function isEvented(body: unknown): body is EventedStream {
  const { on, pipe } = (body ?? {}) as Partial<EventedStream>
  return typeof on === 'function' && typeof pipe === 'function'
}

/** Not every browser can iterate over a stream. */
async function* chunksOf(stream: ReadableStream, ended?: AbortSignal): AsyncIterable<unknown> {
  const reader = stream.getReader()
  ended?.addEventListener('abort', () => void reader.cancel().catch(() => {}))
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      yield value
    }
  } finally {
    await reader.cancel()
  }
}

async function joined(chunks: Chunks): Promise<Octets> {
  const pieces = new Pieces()
  for await (const chunk of chunks) pieces.add(chunk)
  return pieces.whole()
}

function joinedEvents(stream: EventedStream): Promise<Octets> {
  return new Promise((resolve, reject) => {
    const pieces = new Pieces()
    stream.on('error', reject)
    stream.on('end', () => resolve(pieces.whole()))
    stream.on('data', (chunk: unknown) => {
      try {
        pieces.add(chunk)
      } catch (error) {
        reject(error)
      }
    })
    stream.resume?.()
  })
}

class Pieces {
  readonly #pieces: Octets[] = []
  #length = 0

  add(chunk: unknown): void {
    const octets = octetsOf(chunk)
    this.#length += octets.length
    if (this.#length > bodyOctetsMax) throw tooLarge()
    this.#pieces.push(octets)
  }

  whole(): Octets {
    const octets = new Uint8Array(this.#length)
    let at = 0
    for (const piece of this.#pieces) {
      octets.set(piece, at)
      at += piece.length
    }
    return octets
  }
}

function octetsOf(chunk: unknown): Octets {
  if (typeof chunk === 'string') return new TextEncoder().encode(chunk)
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk)
  if (!ArrayBuffer.isView(chunk)) throw new InvalidOptionError('body', 'must be a stream of octets or text')
  return new Uint8Array(chunk.buffer as ArrayBuffer, chunk.byteOffset, chunk.byteLength)
}

function tooLarge(): InvalidOptionError {
  return new InvalidOptionError('body', `must not have more than ${bodyOctetsMax} octets to be sent again`)
}
