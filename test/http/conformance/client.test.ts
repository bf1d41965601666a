import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { sendHttp1 } from './client.ts'
import type { Exchange, WireRequest } from './client.ts'

const get: WireRequest = { method: 'GET', target: '/', headers: [], body: Buffer.alloc(0) }
const post: WireRequest = { ...get, method: 'POST', body: Buffer.from('0123456789') }

/** Answers one connection by hand; gives the exchange and the octets that the server saw. */
async function exchangeWith(
  request: WireRequest,
  answer: (socket: Socket, seen: () => string) => void,
): Promise<{ exchange: Exchange; seen: string }> {
  let seen = ''
  let answered = false
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.on('data', (octets) => {
      seen += octets.toString('latin1')
      if (answered || !seen.includes('\r\n\r\n')) return
      answered = true
      answer(socket, () => seen)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    const exchange = await sendHttp1(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, request)
    return { exchange, seen }
  } finally {
    server.close()
  }
}

async function read(octets: string, request: WireRequest = get): Promise<Exchange> {
  return (await exchangeWith(request, (socket) => socket.end(octets, 'latin1'))).exchange
}

function bodyOf(exchange: Exchange): string {
  if (exchange.kind !== 'answer') throw new Error(JSON.stringify(exchange))
  return exchange.answer.body.toString('latin1')
}

describe('reading a response', () => {
  test.each([
    ['a length', 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc', 'abc'],
    [
      'chunks',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=1\r\nab\r\n1\r\nc\r\n0\r\nT: 1\r\n\r\n',
      'abc',
    ],
    ['the end of the connection', 'HTTP/1.0 200 OK\r\n\r\nabc', 'abc'],
    ['no content', 'HTTP/1.1 204 No Content\r\n\r\n', ''],
  ])('takes a body that ends by %s', async (_how, octets, body) => {
    const exchange = await read(octets)
    expect(bodyOf(exchange)).toBe(body)
    expect(exchange).toMatchObject({ answer: { faults: [] } })
  })

  test('keeps header lines in order and in their case', async () => {
    const exchange = await read(
      'HTTP/1.1 200 OK\r\nX-B: 2 \r\nx-a:1\r\nX-B: \xe9\r\nContent-Length: 0\r\n\r\n',
    )
    const headers = [
      ['X-B', '2'],
      ['x-a', '1'],
      ['X-B', 'é'],
      ['Content-Length', '0'],
    ]
    expect(exchange).toMatchObject({ answer: { headers } })
  })

  test('reads no body after HEAD', async () => {
    const exchange = await read('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n', { ...get, method: 'HEAD' })
    expect(bodyOf(exchange)).toBe('')
  })

  test.each([
    [
      'both framings',
      'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
      'both Content-Length',
    ],
    ['octets after a length', 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd', '1 octets after'],
    [
      'octets after chunks',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nabcd',
      '4 octets after',
    ],
    ['a body with 204', 'HTTP/1.1 204 No Content\r\n\r\nab', '2 octets after'],
  ])('reports %s', async (_what, octets, fault) => {
    expect(await read(octets)).toMatchObject({ answer: { faults: [expect.stringContaining(fault)] } })
  })

  test.each([
    ['a short body', 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab', 'middle of the response (length)'],
    [
      'chunks without the last',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n',
      'middle of the response (chunk-size)',
    ],
    [
      'a chunk of another size',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n',
      'a chunk does not end',
    ],
    ['a bad chunk size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n', 'bad chunk size'],
    ['a bad length', 'HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc', 'bad Content-Length'],
    [
      'two lengths',
      'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc',
      'bad Content-Length',
    ],
    [
      'a coding that was not asked for',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n',
      'unexpected Transfer-Encoding',
    ],
    ['a folded header line', 'HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\n\r\n', 'bad header line'],
    ['white space before the colon', 'HTTP/1.1 200 OK\r\nX-A : 1\r\n\r\n', 'bad header line'],
    ['no status line', 'hello\r\n\r\n', 'bad status line'],
    ['nothing', '', 'middle of the response (head)'],
  ])('refuses %s', async (_what, octets, reason) => {
    expect(await read(octets)).toEqual({ kind: 'failed', reason: expect.stringContaining(reason) })
  })
})

describe('sending a request', () => {
  const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'

  test('writes header lines literally', async () => {
    const headers = [
      ['K', '  "a"  '],
      ['K', '"\xfc"'],
      ['k', ''],
    ] as const
    const { seen } = await exchangeWith({ ...get, headers }, (socket) => socket.end(ok))
    expect(seen).toContain('\r\nK:   "a"  \r\nK: "\xfc"\r\nk: \r\n')
  })

  test('holds the body until 100 Continue', async () => {
    let beforeContinue = ''
    const { exchange, seen } = await exchangeWith({ ...post, hold: true }, (socket, soFar) => {
      beforeContinue = soFar()
      socket.once('data', () => socket.end(ok))
      socket.write('HTTP/1.1 100 Continue\r\n\r\n')
    })
    expect(beforeContinue).not.toContain('0123456789')
    expect(seen).toContain('0123456789')
    expect(exchange).toMatchObject({ answer: { status: 200, interim: [100] } })
  })

  test('never sends a held body after a final answer', async () => {
    const refusal = 'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n'
    const { exchange, seen } = await exchangeWith({ ...post, hold: true }, (socket) => socket.end(refusal))
    expect(seen).not.toContain('0123456789')
    expect(exchange).toMatchObject({ answer: { status: 400, interim: [] } })
  })

  test('sends chunks', async () => {
    const request = { ...post, chunked: true, headers: [['Transfer-Encoding', 'chunked']] as const }
    const { seen } = await exchangeWith(request, (socket, soFar) => {
      const answer = (): void => void (soFar().endsWith('0\r\n\r\n') && socket.end(ok))
      socket.on('data', answer)
      answer()
    })
    expect(seen).not.toContain('Content-Length')
    expect(seen).toContain('\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n')
  })

  test('sends half of the body and goes away', async () => {
    const { exchange, seen } = await exchangeWith({ ...post, half: true, abortMs: 250 }, () => undefined)
    expect(exchange).toEqual({ kind: 'aborted' })
    expect(seen).toContain('Content-Length: 10')
    expect(seen.endsWith('\r\n\r\n01234')).toBe(true)
  })

  test('gives up on a server that is silent', async () => {
    const { exchange } = await exchangeWith({ ...get, timeoutMs: 50 }, () => undefined)
    expect(exchange).toEqual({ kind: 'failed', reason: 'no whole answer in time' })
  })

  test('spares a large body when the head alone is refused', async () => {
    const request = { ...post, body: Buffer.alloc(300 * 1024, 'x') }
    const { exchange, seen } = await exchangeWith(request, (socket) =>
      socket.end('HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n'),
    )
    expect(exchange).toMatchObject({ answer: { status: 413 } })
    expect(seen).not.toContain('xxx')
  })
})
