/**
 * What Upstash's REST interface does, in front of a real server: a command as an array of JSON in the body of a
 * POST, or several of them at `/pipeline`; results as JSON, in base64 where the client asks for that.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Redis } from 'ioredis'

type Parts = readonly (string | number)[]

export interface UpstashShim {
  readonly url: string
  readonly token: string
  close(): Promise<void>
}

export async function startUpstashShim(redisUrl: string): Promise<UpstashShim> {
  const token = 'a-token'
  const redis = new Redis(redisUrl)
  const server = createServer((request, response) => {
    void (async () => {
      const body = JSON.parse(Buffer.concat(await request.toArray()).toString()) as Parts | Parts[]
      const isBase64 = request.headers['upstash-encoding'] === 'base64'
      const answer = (status: number, json: unknown): void => {
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json))
      }
      const run = async (parts: Parts): Promise<{ result: unknown } | { error: string }> => {
        const [command, ...args] = parts.map(String) as [string, ...string[]]
        try {
          return { result: encoded(await redis.callBuffer(command, args), isBase64) }
        } catch (error) {
          return { error: (error as Error).message }
        }
      }
      if (request.headers.authorization !== `Bearer ${token}`) {
        answer(401, { error: 'WRONGPASS invalid or missing auth token.' })
      } else if (request.url === '/pipeline') {
        answer(200, await Promise.all((body as Parts[]).map(run)))
      } else {
        const one = await run(body as Parts)
        answer('error' in one ? 400 : 200, one)
      }
    })()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    token,
    async close() {
      redis.disconnect()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** The status `OK` is never encoded. */
function encoded(value: unknown, isBase64: boolean): unknown {
  if (Array.isArray(value)) return value.map((each) => encoded(each, isBase64))
  if (!Buffer.isBuffer(value)) return value
  if (!isBase64 || value.toString() === 'OK') return value.toString()
  return value.toString('base64')
}
