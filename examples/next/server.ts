/**
 * A route handler and forms with server actions that are safe to retry, on Next.js: at `/` a form that leads on to
 * another page, at `/checkout` one in a client component that stays. From the root of a clone:
 *
 *   npm run example -- next
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import next from 'next'

process.env.NEXT_TELEMETRY_DISABLED = '1'
const app = next({ dev: true, dir: import.meta.dirname, hostname: '127.0.0.1' })
await app.prepare()
const handle = app.getRequestHandler()

const server = createServer((request, response) => void handle(request, response))
server.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo
  console.log(`Listening on http://127.0.0.1:${port}`)
})
