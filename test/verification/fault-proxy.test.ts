import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { type FaultProxy, startFaultProxy } from '../../src/verification/index.ts'

let proxy: FaultProxy
/** What the server has got. */
let received: string
/** After it the server ends the connection. */
const farewell = 'x'.repeat(3_000_000)

beforeEach(async () => {
  received = ''
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', (octets) => {
      received += octets.toString('latin1')
      if (received === 'bye') socket.end(farewell)
      else socket.write(`<${octets.toString('latin1')}>`)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  proxy = await startFaultProxy({ target: { port: (server.address() as AddressInfo).port } })
  onTestFinished(async () => {
    await proxy.close()
    for (const socket of sockets) socket.destroy()
    server.close()
  })
})

interface Client {
  readonly socket: Socket
  readonly answer: () => string
  readonly closed: Promise<unknown>
}

async function client(): Promise<Client> {
  const socket = connect(proxy.port, '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  let answer = ''
  socket.on('data', (octets) => (answer += octets.toString('latin1')))
  socket.on('error', () => {})
  const closed = new Promise((resolve) => socket.once('close', resolve))
  await once(socket, 'connect')
  return { socket, answer: () => answer, closed }
}

describe('the fault proxy', () => {
  test('forwards', async () => {
    const { socket, answer } = await client()
    socket.write('hello')
    await expect.poll(answer).toBe('<hello>')
  })

  test('forwards octets and ends the connection at once', async () => {
    proxy.cutOn('COMMIT', 'sent')
    const { socket, closed, answer } = await client()
    socket.write('COMMIT')
    await closed
    await expect.poll(() => received).toBe('COMMIT')
    expect([answer(), proxy.counts.cutSent]).toEqual(['', 1])
  })

  test.each(['before', 'after'] as const)('leaves a connection half-open, %s the octets', async (when) => {
    proxy.holdOn('COMMIT', when)
    const { socket, answer } = await client()
    socket.write('COMMIT')
    await expect.poll(() => proxy.counts.held).toBe(1)
    // Other connections go on; what the held one sends goes nowhere.
    socket.write('more')
    const other = await client()
    other.socket.write('hello')
    await expect.poll(other.answer).toBe('<hello>')
    await expect.poll(() => received).toBe(when === 'before' ? 'hello' : 'COMMIThello')
    expect([answer(), socket.readyState]).toEqual(['', 'open'])
  })

  test.each([1, 3, 6])('cuts before octets that come in pieces of %i', async (size) => {
    proxy.cutOn('COMMIT', 'before')
    const { socket, closed, answer } = await client()
    socket.setNoDelay(true)
    const pieces = 'abCOMMIT'.match(new RegExp(`.{1,${size}}`, 'g')) ?? []
    const last = pieces.pop() as string
    for (const piece of pieces) {
      const expected = received + piece
      socket.write(piece)
      await expect.poll(() => received).toBe(expected)
    }
    socket.write(last)
    await closed
    expect(received).not.toContain('COMMIT')
    expect(answer()).not.toContain('COMMIT')
    expect(proxy.counts).toMatchObject({ cutBefore: 1, cutAfter: 0, held: 0, dropped: 0, refused: 0 })
    const next = await client()
    next.socket.write('COMMIT')
    await expect.poll(next.answer).toBe('<COMMIT>')
  })

  test('cuts after octets have arrived, and lets nothing of the answer through', async () => {
    proxy.cutOn('COMMIT', 'after', 2)
    for (let times = 0; times < 2; times++) {
      const { socket, closed, answer } = await client()
      socket.write('xCOMMITx')
      await closed
      expect(answer()).toBe('')
    }
    expect(received).toBe('xCOMMITxxCOMMITx')
    expect(proxy.counts.cutAfter).toBe(2)
    const { socket, answer } = await client()
    socket.write('COMMIT')
    await expect.poll(answer).toBe('<COMMIT>')
  })

  test('forgets cuts', async () => {
    proxy.cutOn('COMMIT', 'before')
    proxy.disarm()
    const { socket, answer } = await client()
    socket.write('COMMIT')
    await expect.poll(answer).toBe('<COMMIT>')
  })

  test('drops what is open and refuses what is new', async () => {
    const [one, two] = [await client(), await client()]
    one.socket.write('1')
    two.socket.write('2')
    await expect.poll(() => received.length).toBe(2)
    expect(proxy.dropAll()).toBe(2)
    await Promise.all([one.closed, two.closed])
    proxy.refuses = true
    await (await client()).closed
    proxy.refuses = false
    const { socket, answer } = await client()
    socket.write('3')
    await expect.poll(answer).toBe('<3>')
    expect(proxy.counts).toMatchObject({ cutBefore: 0, cutAfter: 0, dropped: 2, refused: 1 })
  })

  test.each([0, 20])('lets the last answer through whole, delayed by %i ms', async (delayMs) => {
    proxy.delayMs = delayMs
    const { socket, answer, closed } = await client()
    socket.write('bye')
    await closed
    expect(answer()).toBe(farewell)
  })

  test('holds everything back until it is let go', async () => {
    const { socket, answer } = await client()
    const release = proxy.stall()
    socket.write('held')
    await new Promise((resolve) => setImmediate(resolve))
    expect([received, answer()]).toEqual(['', ''])
    release()
    await expect.poll(answer).toBe('<held>')
  })

  test('slices and delays without changing anything', async () => {
    proxy.slices = true
    proxy.delayMs = 1
    const { socket, answer } = await client()
    socket.write('0123456789')
    await expect.poll(() => answer().replaceAll(/[<>]/g, '')).toBe('0123456789')
    expect(received).toBe('0123456789')
  })
})
