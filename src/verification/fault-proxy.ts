/**
 * A TCP proxy on the loopback that breaks connections on purpose: where a request has been sent and nobody knows
 * what became of it. It knows no protocol; a cut waits for octets that the client sends, such as `COMMIT`, also
 * where they come in two pieces.
 *
 *   before   the octets are not forwarded: what they ask for does not happen
 *   sent     they are forwarded, and the client's connection ends at once: it is still happening
 *   after    they are forwarded, and the connection ends when the server answers: it has happened
 *
 * Instead of ending, a connection may stay half-open.
 */
import { connect, createServer, type Server, type Socket } from 'node:net'

export interface FaultProxyOptions {
  /** Where the server listens. Default host `127.0.0.1`. */
  readonly target: { readonly host?: string; readonly port: number }
}

/** What was done to connections so far. */
export interface FaultCounts {
  readonly cutBefore: number
  readonly cutSent: number
  readonly cutAfter: number
  /** Connections that were left half-open. */
  readonly held: number
  readonly dropped: number
  readonly refused: number
}

export interface FaultProxy {
  /** Connect here instead of to the server. */
  readonly port: number
  readonly counts: FaultCounts
  /** Cuts the next `times` connections (default 1) on which the client sends these octets. */
  cutOn(octets: string, when: 'before' | 'sent' | 'after', times?: number): void
  /**
   * As `cutOn`, but the connection stays open and nothing more comes through it: half-open, as after a lost route.
   * It ends when the client or the server gives it up.
   */
  holdOn(octets: string, when: 'before' | 'after', times?: number): void
  /** Forgets the cuts and holds that have not happened. */
  disarm(): void
  /** Ends every connection now; returns how many. */
  dropAll(): number
  /** Holds everything back, in both directions, until the returned function is called. */
  stall(): () => void
  /** Delays what the server answers. 0: not at all. */
  delayMs: number
  /** Sends one octet at a time, in both directions. */
  slices: boolean
  /** New connections end at once. */
  refuses: boolean
  close(): Promise<void>
}

interface Cut {
  readonly octets: Buffer
  readonly when: 'before' | 'sent' | 'after'
  readonly stays: boolean
  left: number
}

/**
 * Starts a proxy.
 *
 * @example
 * const proxy = await startFaultProxy({ target: { port: 5432 } })
 * proxy.cutOn('COMMIT', 'after')
 */
export async function startFaultProxy({ target }: FaultProxyOptions): Promise<FaultProxy> {
  const { host = '127.0.0.1', port: targetPort } = target
  const counts = { cutBefore: 0, cutSent: 0, cutAfter: 0, held: 0, dropped: 0, refused: 0 }
  const open = new Set<() => void>()
  let cuts: Cut[] = []
  let gate: PromiseWithResolvers<void> | undefined

  const server: Server = createServer({ noDelay: true }, (client) => {
    client.on('error', ignore)
    if (proxy.refuses) {
      counts.refused += 1
      client.destroy()
      return
    }
    const upstream = connect({ host, port: targetPort, noDelay: true })
    upstream.on('error', ignore)
    const end = (): void => {
      open.delete(end)
      client.destroy()
      upstream.destroy()
    }
    open.add(end)
    client.on('close', end)
    void forwardRequests(client, upstream, end)
    // A server that ends its connection after an answer has sent it: what is delayed or large still arrives.
    void forwardAnswers(upstream, client).then(() => (client.destroyed ? end() : client.end(end)))
  })

  async function forwardRequests(client: Socket, upstream: Socket, end: () => void): Promise<void> {
    /** The end of what was sent, as far as the rest of a pattern may follow. */
    let tail: Buffer = Buffer.alloc(0)
    let isMute = false
    await eachChunk(client, async (chunk) => {
      if (isMute) return
      const seen = Buffer.concat([tail, chunk])
      const cut = cuts.find(({ octets }) => seen.includes(octets))
      const longest = cuts.reduce((most, { octets }) => Math.max(most, octets.length), 1)
      tail = seen.subarray(Math.max(0, seen.length - longest + 1))
      if (cut !== undefined) {
        cut.left -= 1
        cuts = cuts.filter(({ left }) => left > 0)
        tail = Buffer.alloc(0)
        counts[cut.stays ? 'held' : countOf[cut.when]] += 1
        isMute = cut.stays
        // The answer shall not be seen, not even a part of it.
        upstream.removeAllListeners('data')
        upstream.on('data', cut.stays ? ignore : end)
        if (cut.when === 'before') {
          if (!cut.stays) end()
          return
        }
        if (cut.when === 'sent') {
          client.off('close', end)
          client.destroy()
          // The server has what was sent before it sees that nobody is there.
          upstream.removeAllListeners('data')
          upstream.resume().end(chunk)
          return
        }
      }
      await gate?.promise
      await write(upstream, chunk)
    })
  }

  async function forwardAnswers(upstream: Socket, client: Socket): Promise<void> {
    await eachChunk(upstream, async (chunk) => {
      if (proxy.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, proxy.delayMs))
      await gate?.promise
      await write(client, chunk)
    })
  }

  async function write(socket: Socket, chunk: Buffer): Promise<void> {
    let sent = 0
    while (proxy.slices && sent < chunk.length && !socket.destroyed) {
      socket.write(chunk.subarray(sent, ++sent))
      await new Promise((resolve) => setImmediate(resolve))
    }
    if (sent < chunk.length && !socket.destroyed) socket.write(chunk.subarray(sent))
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  const address = server.address()

  const proxy: FaultProxy = {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    counts,
    delayMs: 0,
    slices: false,
    refuses: false,
    cutOn(octets, when, times = 1): void {
      cuts.push({ octets: Buffer.from(octets, 'latin1'), when, stays: false, left: times })
    },
    holdOn(octets, when, times = 1): void {
      cuts.push({ octets: Buffer.from(octets, 'latin1'), when, stays: true, left: times })
    },
    disarm(): void {
      cuts = []
    },
    dropAll(): number {
      const ends = [...open]
      for (const end of ends) end()
      counts.dropped += ends.length
      return ends.length
    },
    stall(): () => void {
      const held = Promise.withResolvers<void>()
      gate = held
      return () => {
        if (gate === held) gate = undefined
        held.resolve()
      }
    },
    async close(): Promise<void> {
      gate?.resolve()
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const end of open) end()
      await closed
    },
  }
  return proxy
}

const ignore = (): void => {}

const countOf = { before: 'cutBefore', sent: 'cutSent', after: 'cutAfter' } as const

/** Handles chunks one after the other, in their order. */
async function eachChunk(socket: Socket, handle: (chunk: Buffer) => Promise<void>): Promise<void> {
  let last = Promise.resolve()
  socket.on('data', (chunk: Buffer) => {
    socket.pause()
    last = last.then(() => handle(chunk)).then(() => void socket.resume())
  })
  await new Promise<void>((resolve) => socket.once('close', () => resolve()))
  await last
}
