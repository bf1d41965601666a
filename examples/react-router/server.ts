/**
 * A form and a resource route that are safe to retry, on React Router. From the root of a clone:
 *
 *   npm run example -- react-router
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createRequestListener } from '@react-router/node'
import type { ServerBuild } from 'react-router'
import { createServer as createVite } from 'vite'

const vite = await createVite({
  root: import.meta.dirname,
  server: { middlewareMode: true },
  appType: 'custom',
})
const build = () => vite.ssrLoadModule('virtual:react-router/server-build') as Promise<ServerBuild>
const listener = createRequestListener({ build, mode: 'development' })

const server = createServer((request, response) => {
  vite.middlewares(request, response, () => listener(request, response))
})
server.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo
  console.log(`Listening on http://127.0.0.1:${port}`)
})
