/** The examples of tools, called as an agent calls them. */
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js'
import { expect, onTestFinished, test } from 'vitest'
import { startExample } from './example.ts'

test('mcp', async () => {
  const origin = await startExample('mcp')
  const client = new Client({ name: 'reader', version: '1.0.0' })
  await client.connect(new StreamableHTTPClientTransport(new URL(`${origin}/mcp`)) as Transport)
  onTestFinished(() => client.close())
  const refund = { name: 'refund', arguments: { charge: 'ch_1', idempotencyKey: 'k-1' } }
  const first = await client.callTool(refund)
  expect(first['content']).toEqual([{ type: 'text', text: 'Refund 1 of ch_1.' }])
  expect(await client.callTool(refund)).toEqual({ ...first, _meta: { 'retrysafe/replayed': true } })
})

test('ai', async () => {
  const origin = await startExample('ai')
  const output = { refund: 1, order: 'o-1' }
  for (const _ of [1, 2]) {
    expect(await (await fetch(origin)).json()).toEqual({ outputs: [output, output], refunds: 1 })
  }
})
