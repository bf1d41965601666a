/**
 * An MCP server whose tool is safe to call again, over streamable HTTP. From the root of a clone:
 *
 *   npm run example -- mcp
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js'
import { createIdempotency } from 'retrysafe'
import { sqliteStore } from 'retrysafe/stores/sqlite'
import { idempotentTool } from 'retrysafe/tools/mcp'
import { z } from 'zod'

const idem = createIdempotency({ store: sqliteStore({ file: process.env['DB'] ?? './idempotency.db' }) })
let refunds = 0

/** One server for each request: this one keeps no sessions. */
function shop(): McpServer {
  const server = new McpServer({ name: 'shop', version: '1.0.0' })
  server.registerTool(
    'refund',
    {
      description:
        'Refunds a charge. Send one idempotency key for one intention, and the same with every retry.',
      inputSchema: { charge: z.string(), idempotencyKey: z.string().optional() },
      annotations: { idempotentHint: true },
    },
    // A real server names its caller: principal: (extra) => extra.authInfo?.clientId
    idempotentTool(
      idem,
      { operation: 'refund', principal: 'anonymous', argument: 'idempotencyKey' },
      async ({ charge }: { charge: string; idempotencyKey?: string | undefined }) => {
        refunds += 1
        return { content: [{ type: 'text' as const, text: `Refund ${refunds} of ${charge}.` }] }
      },
    ),
  )
  return server
}

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const transport = new StreamableHTTPServerTransport({})
  response.on('close', () => void transport.close())
  await shop().connect(transport as Transport)
  await transport.handleRequest(request, response)
}

const server = createServer((request, response) => void serve(request, response))

server.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1', () => {
  const { port } = server.address() as { port: number }
  console.log(`Listening on http://127.0.0.1:${port}/mcp`)
})
