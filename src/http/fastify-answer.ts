/** Writes an answer of the protocol to a reply of Fastify. */
import { Readable } from 'node:stream'
import type { ProtocolAnswer } from './protocol.ts'

/** The part of Fastify's reply that an answer needs. */
export interface ReplyLike {
  code(status: number): unknown
  header(name: string, value: string | string[]): unknown
  send(payload?: unknown): unknown
}

/**
 * Sends an answer, such as one of `retrysafe/http/precondition`, through Fastify's own way, so that hooks of other
 * plugins see it. Return what it returns.
 *
 * @example
 * if (seen.kind === 'answer') return sendAnswer(reply, seen.answer)
 */
export function sendReply(reply: ReplyLike, answer: ProtocolAnswer): unknown {
  const values = new Map<string, string[]>()
  for (const [name, value] of answer.headers) values.set(name, [...(values.get(name) ?? []), value])
  reply.code(answer.status)
  for (const [name, lines] of values) reply.header(name, lines.length === 1 ? (lines[0] as string) : lines)
  if (answer.body.length === 0) return reply.send()
  const octets = Buffer.from(answer.body.buffer, answer.body.byteOffset, answer.body.length)
  if (answer.headers.some(([name]) => name.toLowerCase() === 'content-type')) return reply.send(octets)
  // Fastify gives octets a media type that the first answer did not have; to a stream it gives none.
  reply.header('Content-Length', String(octets.length))
  return reply.send(Readable.from([octets]))
}
