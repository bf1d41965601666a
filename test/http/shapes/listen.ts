/** Serves listeners for the fidelity suite, over HTTP/1.1 and HTTP/2. */
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createHttp2Server, type ServerHttp2Session } from 'node:http2'
import type { AddressInfo } from 'node:net'
import type { RunningShapes } from './server.ts'

async function portOf(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** Serves over HTTP/1.1, and over HTTP/2 by prior knowledge if asked to. */
export async function listenShapes(listener: RequestListener, http2 = false): Promise<RunningShapes> {
  const server = createServer(listener)
  const sessions = new Set<ServerHttp2Session>()
  const second = http2
    ? createHttp2Server(listener as unknown as Parameters<typeof createHttp2Server>[1])
    : undefined
  second?.on('session', (session) => sessions.add(session))
  const port = await portOf(server)
  const ports =
    second === undefined ? { port } : { port, http2Port: await portOf(second as unknown as Server) }
  return {
    ...ports,
    close: async () => {
      server.close()
      server.closeAllConnections()
      second?.close()
      for (const session of sessions) session.destroy()
    },
  }
}
