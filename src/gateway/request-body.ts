/** Reads a request's body up to a bound. */
import type { IncomingMessage } from 'node:http'

/** `broken-off`: the client left before the body was whole, so nothing may run. */
export type RequestBody = Buffer | 'too-large' | 'broken-off'

/** What the fields say of the body's size, `undefined` where it comes in chunks. */
export function declaredBytes(request: IncomingMessage): number | undefined {
  const length = request.headers['content-length']
  if (length !== undefined) return Number(length)
  return request.headers['transfer-encoding'] === undefined ? 0 : undefined
}

export function readRequestBody(request: IncomingMessage, bytesMax: number): Promise<RequestBody> {
  const declared = declaredBytes(request)
  if (declared === 0) return Promise.resolve(Buffer.alloc(0))
  if (declared !== undefined && declared > bytesMax) return Promise.resolve('too-large')
  const { promise, resolve } = Promise.withResolvers<RequestBody>()
  const chunks: Buffer[] = []
  let bytes = 0
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > bytesMax) resolve('too-large')
    else chunks.push(chunk)
  })
  request.on('end', () => resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)))
  // Without 'end' first, these two mean that the client left.
  request.on('error', () => resolve('broken-off'))
  request.on('close', () => resolve('broken-off'))
  return promise
}
