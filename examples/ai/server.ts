/**
 * A tool of the AI SDK that has one effect for one order, however often a model calls it. The model is the SDK's mock,
 * which calls the tool twice in each answer; put a provider's in its place. From the root of a clone:
 *
 *   npm run example -- ai
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { generateText, tool } from 'ai'
import { MockLanguageModelV4 } from 'ai/test'
import { createIdempotency } from 'retrysafe'
import { sqliteStore } from 'retrysafe/stores/sqlite'
import { idempotentTool } from 'retrysafe/tools/ai'
import { z } from 'zod'

const idem = createIdempotency({ store: sqliteStore({ file: process.env['DB'] ?? './idempotency.db' }) })
let refunds = 0

const model = new MockLanguageModelV4({
  doGenerate: async () => ({
    content: ['call_1', 'call_2'].map((toolCallId) => {
      return { type: 'tool-call' as const, toolCallId, toolName: 'refund', input: '{"order":"o-1"}' }
    }),
    finishReason: { unified: 'tool-calls', raw: undefined },
    usage: {
      inputTokens: { total: 1, noCache: 1, cacheRead: undefined, cacheWrite: undefined },
      outputTokens: { total: 1, text: 1, reasoning: undefined },
    },
    warnings: [],
  }),
})

const refund = tool({
  description: 'Refunds an order.',
  inputSchema: z.object({ order: z.string() }),
  execute: idempotentTool(
    idem,
    { operation: 'refund', principal: () => 'tenant-1', key: ({ order }) => order },
    async ({ order }: { order: string }) => ({ refund: (refunds += 1), order }),
  ),
})

async function serve(_request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { toolResults } = await generateText({ model, tools: { refund }, prompt: 'Refund order o-1.' })
  response.setHeader('Content-Type', 'application/json')
  response.end(JSON.stringify({ outputs: toolResults.map(({ output }) => output), refunds }))
}

const server = createServer((_request, response) => void serve(_request, response))

server.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1', () => {
  const { port } = server.address() as { port: number }
  console.log(`Listening on http://127.0.0.1:${port}`)
})
