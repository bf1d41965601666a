/** What Node tells of requests that were never sent, by the errors that it really makes. */
import { once } from 'node:events'
import { constants, createSecureServer, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { createServer as createTlsServer } from 'node:https'
import { Agent, fetch as undiciFetch } from 'undici'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createIdempotentFetch } from '../../src/client/index.ts'
import { platform as browsers } from '../../src/client/platform-browser.ts'
import { wasNeverSent } from '../../src/client/platform.ts'
import { freePort } from '../../scripts/servers/process.ts'
import { paypalCertificate } from '../webhooks/certificates.ts'
import { recording, reset } from './serving.ts'

const failure = (error: unknown): unknown => error
const fails = (url: string, init: RequestInit = {}): Promise<unknown> =>
  fetch(url, { method: 'POST', ...init }).then(() => undefined, failure)

const certificate = { key: paypalCertificate.key, cert: paypalCertificate.certificate }

/** Two requests, one after the other, to a server of HTTP/2 that does this to their streams: the end of the second. */
async function postOverHttp2(treat: (stream: ServerHttp2Stream) => void): Promise<unknown> {
  const server = createSecureServer(certificate)
  server.on('stream', (stream) => {
    stream.on('error', () => {})
    treat(stream)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const dispatcher = new Agent({ allowH2: true, connect: { rejectUnauthorized: false } })
  onTestFinished(async () => {
    await dispatcher.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const post = (): Promise<unknown> =>
    undiciFetch(`https://localhost:${port}`, { method: 'POST', body: '{}', dispatcher })
      .then((response) => response.text())
      .catch(failure)
  await post()
  return await post()
}

describe('never sent', () => {
  test('a refused connection', async () => {
    expect(wasNeverSent(await fails(`http://127.0.0.1:${await freePort()}`))).toBe(true)
  })

  test('a refused connection at every address of a name', async () => {
    expect(wasNeverSent(await fails(`http://localhost:${await freePort()}`))).toBe(true)
  })

  test('a name that is not found', async () => {
    expect(wasNeverSent(await fails('http://nobody.invalid'))).toBe(true)
  })

  test('a certificate that nobody vouches for, and one of another name', async () => {
    const server = createTlsServer(certificate, (_request, response) => response.end())
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    const { port } = server.address() as AddressInfo
    expect(wasNeverSent(await fails(`https://localhost:${port}`))).toBe(true)
    const dispatcher = new Agent({ connect: { ca: certificate.cert } })
    onTestFinished(() => dispatcher.close())
    const init = { method: 'POST', dispatcher }
    // Vouched for, but in another name.
    const error = await undiciFetch(`https://localhost:${port}`, init).catch(failure)
    expect(error).toMatchObject({ cause: { code: 'ERR_TLS_CERT_ALTNAME_INVALID' } })
    expect(wasNeverSent(error)).toBe(true)
  })

  test('TLS to a server that speaks none', async () => {
    const { port } = await recording()
    expect(wasNeverSent(await fails(`https://127.0.0.1:${port}`))).toBe(true)
  })

  test('a connection that takes too long', async () => {
    const dispatcher = new Agent({ connect: { timeout: 1 } })
    onTestFinished(() => dispatcher.close())
    // An address of documentation (RFC 5737), to which nothing is routed.
    const error = await undiciFetch('http://192.0.2.1', { method: 'POST', dispatcher }).catch(failure)
    expect(wasNeverSent(error)).toBe(true)
  })

  test('an HTTP/2 stream that was refused', async () => {
    const error = await postOverHttp2((stream) => stream.close(constants.NGHTTP2_REFUSED_STREAM))
    expect(wasNeverSent(error)).toBe(true)
  })

  test('two requests of which neither was', async () => {
    const refused = await fails(`http://127.0.0.1:${await freePort()}`)
    const other = await fails((await recording(reset)).origin)
    expect(wasNeverSent(new AggregateError([refused, refused]))).toBe(true)
    expect(wasNeverSent(new AggregateError([refused, other]))).toBe(false)
  })
})

describe('perhaps sent', () => {
  test('a reset', async () => {
    const server = await recording(reset)
    expect(wasNeverSent(await fails(server.origin))).toBe(false)
    expect(server.received).toHaveLength(1)
  })

  test('a timeout', async () => {
    const server = await recording(() => {})
    expect(wasNeverSent(await fails(server.origin, { signal: AbortSignal.timeout(20) }))).toBe(false)
  })

  test('an HTTP/2 stream that ended with another error', async () => {
    const error = await postOverHttp2((stream) => stream.close(constants.NGHTTP2_INTERNAL_ERROR))
    expect(error).toBeInstanceOf(Error)
    expect(wasNeverSent(error)).toBe(false)
  })

  test('an HTTP/2 connection that goes away, for older undici says the same of requests that it has taken', async () => {
    const error = await postOverHttp2((stream) => {
      if (stream.id === 1) stream.respond({}, { endStream: true })
      else stream.session?.goaway(constants.NGHTTP2_NO_ERROR, 1)
    })
    expect(error).toMatchObject({ cause: { message: expect.stringContaining('GOAWAY') } })
    expect(wasNeverSent(error)).toBe(false)
  })

  test.each([undefined, null, 'ECONNREFUSED', {}, new Error('connect'), { syscall: 'connect' }])(
    'what is no error of Node: %o',
    (value) => {
      expect(wasNeverSent(value)).toBe(false)
    },
  )

  test('causes without an end', () => {
    const error = new Error('round')
    error.cause = error
    expect(wasNeverSent(error)).toBe(false)
  })
})

test('browsers never say', async () => {
  expect(browsers.wasNeverSent(await fails(`http://127.0.0.1:${await freePort()}`))).toBe(false)
})

test('a call that never reached anybody was not applied', async () => {
  const fetchSafely = createIdempotentFetch({ backoff: 1, retries: 2, budget: { perSecond: 100 } })
  for (const url of [`http://127.0.0.1:${await freePort()}`, 'http://nobody.invalid']) {
    await expect(fetchSafely(url, { method: 'POST' })).rejects.toMatchObject({
      ...{ code: 'not-applied', reason: 'retries', attempts: 3 },
    })
  }
})
