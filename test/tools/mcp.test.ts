/** MCP tools on the real SDK: what a client gets that calls again. */
import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createIdempotency, type Idempotency } from '../../src/engine/idempotency.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { idempotentTool, type McpExtra, type McpToolOptions } from '../../src/tools/mcp.ts'
import { eventually } from '../eventually.ts'
import { instance } from '../http/serving.ts'
import { callTool, connectInMemory, serveHttp } from './mcp-server.ts'

type Args = { charge: string; key?: string | undefined }
type Options = Partial<McpToolOptions<Args, McpExtra & { authInfo?: { clientId: string } }, CallToolResult>>

const inputSchema = { charge: z.string(), key: z.string().optional() }

/** A server with the tool `refund`, which counts. */
function shop(
  idem: Idempotency,
  options: Options = {},
  work: (run: number, signal: AbortSignal) => CallToolResult | Promise<CallToolResult> = (run) => ({
    content: [{ type: 'text', text: `refund ${run}` }],
    structuredContent: { run },
  }),
) {
  let runs = 0
  const register = (server: McpServer): void => {
    server.registerTool(
      'refund',
      { inputSchema },
      idempotentTool(
        idem,
        { operation: 'refund', principal: 'anonymous', wait: 0, ...options },
        async (_args: Args, extra) => work((runs += 1), extra.signal),
      ),
    )
  }
  return { register, runs: () => runs }
}

const withKey = (key: string): Record<string, unknown> => ({ 'idempotency-key': key })

function codeOf(result: CallToolResult): unknown {
  return result._meta?.['retrysafe/code']
}

function textOf(result: CallToolResult): string {
  return result.content.map((part) => (part.type === 'text' ? part.text : '')).join('')
}

describe('in memory', () => {
  test('the same key gives the same result, marked, and one run', async () => {
    const { register, runs } = shop(instance())
    const client = await connectInMemory(register)
    const first = await callTool(client, 'refund', { charge: 'ch_1' }, withKey('k1'))
    expect(first).toEqual({ content: [{ type: 'text', text: 'refund 1' }], structuredContent: { run: 1 } })
    const again = await callTool(client, 'refund', { charge: 'ch_1' }, withKey('k1'))
    expect(again).toEqual({ ...first, _meta: { 'retrysafe/replayed': true } })
    expect(runs()).toBe(1)
  })

  test('other arguments under the key are refused, with a text to act on', async () => {
    const { register, runs } = shop(instance())
    const client = await connectInMemory(register)
    await callTool(client, 'refund', { charge: 'ch_1' }, withKey('k1'))
    const refused = await callTool(client, 'refund', { charge: 'ch_2' }, withKey('k1'))
    expect([refused.isError, codeOf(refused), runs()]).toEqual([true, 'key-reused', 1])
    expect(textOf(refused)).toContain('use a new key')
  })

  test('where a client sends the member that was once proposed, it is the key', async () => {
    const { register, runs } = shop(instance())
    const client = await connectInMemory(register)
    for (const _ of [1, 2]) await callTool(client, 'refund', { charge: 'ch_1' }, { idempotencyKey: 'k1' })
    expect(runs()).toBe(1)
  })

  test('a member of another name, and an argument, may carry the key; the argument is not compared', async () => {
    const { register, runs } = shop(instance(), { meta: 'shop.example/key', argument: 'key' })
    const client = await connectInMemory(register)
    await callTool(client, 'refund', { charge: 'ch_1' }, { 'shop.example/key': 'k1' })
    const again = await callTool(client, 'refund', { charge: 'ch_1', key: 'k1' })
    expect([textOf(again), runs()]).toEqual(['refund 1', 1])
  })

  test.each([
    ['refuse', true, 'key-missing', 0],
    ['run', undefined, undefined, 2],
    // A connection in memory has no session.
    ['request', true, 'key-missing', 0],
  ] as const)('without a key, missingKey %s', async (missingKey, isError, code, runsExpected) => {
    const { register, runs } = shop(instance(), { missingKey })
    const client = await connectInMemory(register)
    await callTool(client, 'refund', { charge: 'ch_1' })
    const result = await callTool(client, 'refund', { charge: 'ch_1' })
    expect([result.isError, codeOf(result), runs()]).toEqual([isError, code, runsExpected])
  })

  test('a key that is no text is malformed', async () => {
    const { register } = shop(instance())
    const client = await connectInMemory(register)
    expect(codeOf(await callTool(client, 'refund', { charge: 'a' }, { 'idempotency-key': 7 }))).toBe(
      'key-malformed',
    )
    expect(codeOf(await callTool(client, 'refund', { charge: 'a' }, withKey('x'.repeat(256))))).toBe(
      'key-malformed',
    )
  })

  test('a call beside the first one is told when to come again', async () => {
    const goOn = Promise.withResolvers<void>()
    const inHandler = Promise.withResolvers<void>()
    const { register } = shop(instance(), {}, async () => {
      inHandler.resolve()
      await goOn.promise
      return { content: [] }
    })
    const client = await connectInMemory(register)
    const first = callTool(client, 'refund', { charge: 'ch_1' }, withKey('k1'))
    await inHandler.promise
    const refused = await callTool(client, 'refund', { charge: 'ch_1' }, withKey('k1'))
    expect([codeOf(refused), refused._meta?.['retrysafe/retryAfterMs']]).toEqual(['in-progress', 1_000])
    expect(textOf(refused)).toMatch(/Try again with the same key and the same arguments in 1 s/)
    goOn.resolve()
    expect((await first).isError).toBeUndefined()
  })

  test.each([
    ['release', [undefined, undefined], 2],
    ['keep', [undefined, undefined], 1],
    ['unknown', [undefined, 'outcome-unknown'], 1],
  ] as const)('a result with isError, with errorResult %s', async (errorResult, codes, runsExpected) => {
    const declined = { content: [{ type: 'text' as const, text: 'declined' }], isError: true }
    const { register, runs } = shop(instance(), { errorResult }, () => declined)
    const client = await connectInMemory(register)
    const call = () => callTool(client, 'refund', { charge: 'ch_1' }, withKey('k1'))
    const [first, again] = [await call(), await call()]
    expect([first.isError, again.isError, runs()]).toEqual([true, true, runsExpected])
    expect([codeOf(first), codeOf(again)]).toEqual(codes)
    expect(textOf(first)).toBe('declined')
  })

  test.each([
    ['release', ['no', 'no'], 2],
    ['keep', ['no', 'no'], 1],
    ['unknown', ['no', 'Do not retry'], 1],
  ] as const)('a handler that throws, with onError %s', async (onError, texts, runsExpected) => {
    const { register, runs } = shop(instance(), { onError }, () => {
      throw new Error('no')
    })
    const client = await connectInMemory(register)
    for (const text of texts) {
      const result = await callTool(client, 'refund', { charge: 'ch_1' }, withKey('k1'))
      expect([result.isError, textOf(result)]).toEqual([true, expect.stringContaining(text)])
    }
    expect(runs()).toBe(runsExpected)
  })

  test('a principal that nobody is refuses the call', async () => {
    const { register, runs } = shop(instance(), { principal: (extra) => extra.authInfo?.clientId })
    const client = await connectInMemory(register)
    expect(codeOf(await callTool(client, 'refund', { charge: 'a' }, withKey('k')))).toBe('principal-invalid')
    expect(runs()).toBe(0)
  })

  test('a result that cannot be stored is not run again', async () => {
    const { register, runs } = shop(instance(), {}, () => ({
      content: [],
      structuredContent: { f: () => 1 },
    }))
    const client = await connectInMemory(register)
    for (const _ of [1, 2]) {
      const refused = await callTool(client, 'refund', { charge: 'ch_1' }, withKey('k1'))
      expect([codeOf(refused), textOf(refused)]).toEqual([
        'outcome-unstorable',
        expect.stringContaining('taken effect'),
      ])
    }
    expect(runs()).toBe(1)
  })
})

describe('over streamable HTTP', () => {
  test('a client that lost the answer finds it, from another session too', async () => {
    const goOn = Promise.withResolvers<void>()
    const { register, runs } = shop(
      instance(),
      { principal: (extra) => extra.authInfo?.clientId },
      async (run) => {
        await goOn.promise
        return { content: [{ type: 'text', text: `refund ${run}` }] }
      },
    )
    const connect = await serveHttp(register)
    const leaving = await connect('alice')
    const lost = callTool(leaving, 'refund', { charge: 'ch_1' }, withKey('k1')).catch(() => 'lost')
    await eventually(() => expect(runs()).toBe(1))
    await leaving.close()
    expect(await lost).toBe('lost')
    goOn.resolve()
    const back = await connect('alice')
    const found = await eventually(async () => {
      const result = await callTool(back, 'refund', { charge: 'ch_1' }, withKey('k1'))
      expect(codeOf(result)).toBeUndefined()
      return result
    })
    expect([textOf(found), found._meta, runs()]).toEqual(['refund 1', { 'retrysafe/replayed': true }, 1])
  })

  test('what a cancelled handler throws leaves the outcome unknown', async () => {
    const { register, runs } = shop(instance(), {}, (_run, signal) => {
      return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    })
    const client = await (await serveHttp(register))('alice')
    const cancel = new AbortController()
    const cancelled = callTool(client, 'refund', { charge: 'ch_1' }, withKey('k1'), cancel.signal)
    await eventually(() => expect(runs()).toBe(1))
    cancel.abort('no longer wanted')
    await expect(cancelled).rejects.toThrow()
    const refused = await eventually(async () => {
      const result = await callTool(client, 'refund', { charge: 'ch_1' }, withKey('k1'))
      expect(codeOf(result)).not.toBe('in-progress')
      return result
    })
    expect([codeOf(refused), runs()]).toEqual(['outcome-unknown', 1])
    expect(textOf(refused)).toContain('tell the user')
  })

  test('one caller’s key is not another’s', async () => {
    const { register, runs } = shop(instance(), { principal: (extra) => extra.authInfo?.clientId })
    const connect = await serveHttp(register)
    for (const name of ['alice', 'bob']) {
      await callTool(await connect(name), 'refund', { charge: 'ch_1' }, withKey('k1'))
    }
    expect(runs()).toBe(2)
  })

  test('ids of requests begin anew in each session, so a session’s id belongs to the key', async () => {
    const { register, runs } = shop(instance(), { missingKey: 'request' })
    const connect = await serveHttp(register)
    for (const name of ['alice', 'alice']) await callTool(await connect(name), 'refund', { charge: 'ch_1' })
    expect(runs()).toBe(2)
  })

  test('after its process died, a key is held until somebody finds out', async () => {
    let now = 1_000_000
    const store = memoryStore({ clock: { now: () => now } })
    const dead = shop(createIdempotency({ store, sweep: false }), {}, () => new Promise(() => {}))
    const first = await connectInMemory(dead.register)
    void callTool(first, 'refund', { charge: 'ch_1' }, withKey('k1')).catch(() => {})
    await eventually(() => expect(dead.runs()).toBe(1))
    now += 31_000
    const alive = shop(createIdempotency({ store, sweep: false }))
    const client = await connectInMemory(alive.register)
    const refused = await callTool(client, 'refund', { charge: 'ch_1' }, withKey('k1'))
    expect([codeOf(refused), alive.runs()]).toEqual(['outcome-unknown', 0])
  })
})

test('options are checked where the tool is made', () => {
  const good = { operation: 'refund', principal: 'anonymous' }
  const make = (changed: object) => () =>
    idempotentTool(instance(), { ...good, ...changed } as never, () => ({}))
  expect(make({ operation: '' })).toThrow(/operation must be/)
  expect(make({ principal: 'alice' })).toThrow(/principal must be/)
  expect(make({ missingKey: 'ignore' })).toThrow(/missingKey must be/)
  expect(make({ meta: '' })).toThrow(/meta must be/)
  expect(make({ onUnknown: 'reconcile' })).toThrow(/reconcile is required/)
  expect(make({ retension: '1h' })).toThrow(/Did you mean retention/)
})
