/** Compression as Koa's users write it: after what follows, the body becomes a gzipped stream. */
import { Readable } from 'node:stream'
import { createGzip } from 'node:zlib'
import type { Middleware } from 'koa'

export const gzip: Middleware = async (ctx, next) => {
  await next()
  const { body } = ctx
  if (body === null || body === undefined || ctx.respond === false) return
  ctx.vary('Accept-Encoding')
  if (ctx.acceptsEncodings('gzip', 'identity') !== 'gzip') return
  const isText = typeof body === 'string' || Buffer.isBuffer(body)
  const source = isText ? Readable.from([body]) : body instanceof Readable ? body : undefined
  ctx.set('Content-Encoding', 'gzip')
  ctx.remove('Content-Length')
  if (source === undefined) ctx.body = Readable.from([JSON.stringify(body)]).pipe(createGzip())
  else ctx.body = source.pipe(createGzip())
}
