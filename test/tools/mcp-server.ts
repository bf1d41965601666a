/** MCP servers of the real SDK: in memory, and over streamable HTTP on a socket of the loopback. */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { InMemoryTransport } from '@modelcontextprotocol/sdk/inMemory.js'
import type { AuthInfo } from '@modelcontextprotocol/sdk/server/auth/types.js'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js'
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js'
import { onTestFinished } from 'vitest'

const info = { name: 'shop', version: '1.0.0' }

/** A client of a server that `register` gives its tools, until the test ends. */
export async function connectInMemory(register: (server: McpServer) => void): Promise<Client> {
  const server = new McpServer(info)
  register(server)
  const [here, there] = InMemoryTransport.createLinkedPair()
  const client = new Client(info)
  await server.connect(there)
  await client.connect(here)
  onTestFinished(() => client.close())
  return client
}

/** Serves sessions over streamable HTTP; a bearer token is its sender's name. Resolves to what connects a client. */
export async function serveHttp(
  register: (server: McpServer) => void,
): Promise<(token: string) => Promise<Client>> {
  const sessions = new Map<string, StreamableHTTPServerTransport>()
  const open = async (): Promise<StreamableHTTPServerTransport> => {
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => void sessions.set(id, transport),
    })
    const server = new McpServer(info)
    register(server)
    await server.connect(transport as Transport)
    return transport
  }
  const http = createServer(async (request: IncomingMessage & { auth?: AuthInfo }, response) => {
    const token = request.headers.authorization?.replace('Bearer ', '')
    if (token !== undefined) request.auth = { token, clientId: token, scopes: [] }
    const id = request.headers['mcp-session-id'] as string | undefined
    const transport = (id === undefined ? undefined : sessions.get(id)) ?? (await open())
    await transport.handleRequest(request, response)
  })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  onTestFinished(async () => {
    for (const transport of sessions.values()) await transport.close()
    const closed = once(http, 'close')
    http.close()
    http.closeAllConnections()
    await closed
  })
  const url = new URL(`http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`)
  return async (token) => {
    const client = new Client(info)
    const headers = { Authorization: `Bearer ${token}` }
    await client.connect(new StreamableHTTPClientTransport(url, { requestInit: { headers } }) as Transport)
    onTestFinished(() => client.close())
    return client
  }
}

/** Calls a tool as the SDK's users do. */
export async function callTool(
  client: Client,
  name: string,
  args: Record<string, unknown>,
  meta?: Record<string, unknown>,
  signal?: AbortSignal,
): Promise<CallToolResult> {
  const params = { name, arguments: args, ...(meta === undefined ? {} : { _meta: meta }) }
  return (await client.callTool(params, undefined, signal === undefined ? {} : { signal })) as CallToolResult
}
