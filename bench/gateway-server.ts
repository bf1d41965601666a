/** The gateway in a process of its own: `gateway-server.ts <upstream port> [SQLite file]`. */
import { defaultRouteOptions, type GatewayConfig, parseGatewayConfig } from '../src/gateway/config.ts'
import { createGateway } from '../src/gateway/gateway.ts'
import { memoryStore } from '../src/stores/memory.ts'
import { sqliteStore } from '../src/stores/sqlite.ts'
import { serveParent } from './child.ts'

const [, , upstreamPort = '', file] = process.argv
const { config: written } = parseGatewayConfig('', 'bench.yaml', {})
if (written === undefined) throw new Error('An empty configuration is refused.')
const config: GatewayConfig = {
  ...written,
  upstream: `http://127.0.0.1:${upstreamPort}`,
  listen: { host: '127.0.0.1', port: 0 },
  store: file === undefined ? { kind: 'memory' } : { kind: 'sqlite', file },
  principal: { kind: 'anonymous' },
  defaults: written.defaults ?? defaultRouteOptions,
}
const store = file === undefined ? memoryStore() : sqliteStore({ file })
const { port } = await createGateway(config, { store }).listen()
serveParent(port)
