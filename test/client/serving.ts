/** Real servers that write down what they are sent. */
import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import { serve } from '../http/serving.ts'

export interface Received {
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export interface Recorded {
  readonly origin: string
  readonly port: number
  readonly received: Received[]
}

/** Answers the requests one after the other, and all later ones as the last. */
export type Reply = (response: ServerResponse, received: Received) => void

/** A server until the test ends. */
export async function recording(...replies: readonly Reply[]): Promise<Recorded> {
  const received: Received[] = []
  const { origin, port } = await serve((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { method = '', url = '', headers } = request
      const all = { method, url, headers, body: Buffer.concat(chunks) }
      received.push(all)
      replies[Math.min(received.length, replies.length) - 1]?.(response, all)
    })
  })
  return { origin, port, received }
}

/** A reply of this status. */
export function status(
  code: number,
  fields: Readonly<Record<string, string>> = {},
  body = `answer ${code}`,
): Reply {
  return (response) => response.writeHead(code, fields).end(body)
}

/** A problem document. */
export function problem(code: number, word: string, fields: Readonly<Record<string, string>> = {}): Reply {
  const type = { 'content-type': 'application/problem+json', ...fields }
  return status(code, type, JSON.stringify({ status: code, code: word }))
}

/** The connection is reset without an answer. */
export const reset: Reply = (response) => void response.socket?.resetAndDestroy()

/** The head and a part of the body, then the end of the connection. */
export const cutBody: Reply = (response) => {
  response.writeHead(201, { 'content-length': '100' })
  response.write('a part', () => response.socket?.destroy())
}
