/** How handlers call a Node response: the forms of its arguments, and the errors that Node answers with. */

export type Callback = (error?: Error | null) => void
export type Chunk = string | Uint8Array

/** A chunk as Node takes it. @throws TypeError with Node's own code for anything else */
export function asOctets(chunk: Chunk, encoding: BufferEncoding | undefined): Uint8Array {
  if (typeof chunk === 'string') return Buffer.from(chunk, encoding)
  if (chunk instanceof Uint8Array) return chunk
  throw Object.assign(new TypeError('A chunk must be a string or a Uint8Array.'), {
    code: 'ERR_INVALID_ARG_TYPE',
  })
}

/** What may follow a chunk: an encoding, a callback, or both. */
export function writeArguments(rest: unknown[]): [BufferEncoding | undefined, Callback | undefined] {
  const [first, second] = rest
  if (typeof first === 'function') return [undefined, first as Callback]
  return [(first ?? undefined) as BufferEncoding | undefined, second as Callback | undefined]
}

/** What `end` may be given. */
export function endArguments(
  given: unknown[],
): [Chunk | undefined, BufferEncoding | undefined, Callback | undefined] {
  const [first, ...rest] = given
  if (typeof first === 'function') return [undefined, undefined, first as Callback]
  return [(first ?? undefined) as Chunk | undefined, ...writeArguments(rest)]
}

/** As Node says it. */
export function headersSentError(): Error {
  const error = new Error('Cannot set headers after they are sent to the client')
  return Object.assign(error, { code: 'ERR_HTTP_HEADERS_SENT' })
}

/** As Node says it. */
export function invalidStatusError(status: unknown): Error {
  const error = new RangeError(`Invalid status code: ${String(status)}`)
  return Object.assign(error, { code: 'ERR_HTTP_INVALID_STATUS_CODE' })
}

/** As Node says it. */
export function writeAfterEndError(): Error {
  return Object.assign(new Error('write after end'), { code: 'ERR_STREAM_WRITE_AFTER_END' })
}
