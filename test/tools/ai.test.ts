/**
 * Tools of the AI SDK, executed by its own `generateText`. The model is the SDK's mock: what is tested is what the SDK
 * does with a tool, not what a model makes of it.
 */
import { generateText, tool, type LanguageModel } from 'ai'
import { MockLanguageModelV4 } from 'ai/test'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { Idempotency } from '../../src/engine/idempotency.ts'
import { type AiExecution, type AiToolOptions, idempotentTool } from '../../src/tools/ai.ts'
import { instance } from '../http/serving.ts'

type Input = { charge: string }
type Output = { refund: number }

const inputSchema = z.object({ charge: z.string() })

/** A model that calls the tool, each call with an id and a charge. */
function modelThatCalls(...calls: readonly (readonly [id: string, charge: string])[]): LanguageModel {
  return new MockLanguageModelV4({
    doGenerate: async () => ({
      content: calls.map(([toolCallId, charge]) => ({
        type: 'tool-call' as const,
        toolCallId,
        toolName: 'refund',
        input: JSON.stringify({ charge }),
      })),
      finishReason: { unified: 'tool-calls', raw: 'tool_calls' },
      usage: {
        inputTokens: { total: 1, noCache: 1, cacheRead: undefined, cacheWrite: undefined },
        outputTokens: { total: 1, text: 1, reasoning: undefined },
      },
      warnings: [],
    }),
  })
}

function shop(idem: Idempotency, options: object = { conversation: 'c1' }, fail?: () => void) {
  let runs = 0
  const given = { operation: 'refund', principal: 'anonymous', wait: 0, ...options }
  const refund = tool({
    inputSchema,
    execute: idempotentTool(
      idem,
      given as AiToolOptions<Input, AiExecution, Output>,
      async (_input: Input): Promise<Output> => {
        runs += 1
        fail?.()
        return { refund: runs }
      },
    ),
  })
  const ask = async (...calls: readonly (readonly [id: string, charge: string])[]): Promise<unknown[]> => {
    const { content } = await generateText({
      model: modelThatCalls(...calls),
      tools: { refund },
      prompt: 'refund it',
    })
    return content.flatMap((part) => {
      if (part.type === 'tool-result') return [part.output]
      return part.type === 'tool-error' ? [(part.error as Error).message] : []
    })
  }
  return { ask, runs: () => runs }
}

describe('by the id of the tool call', () => {
  test('a call that is executed twice has one effect and one output', async () => {
    const { ask, runs } = shop(instance())
    expect(await ask(['call_1', 'ch_1'])).toEqual([{ refund: 1 }])
    expect(await ask(['call_1', 'ch_1'])).toEqual([{ refund: 1 }])
    expect(runs()).toBe(1)
  })

  test('a model that calls again makes a new id, and runs again', async () => {
    const { ask, runs } = shop(instance())
    expect(await ask(['call_1', 'ch_1'], ['call_2', 'ch_1'])).toHaveLength(2)
    expect(runs()).toBe(2)
  })

  test('the same id in another conversation is another call', async () => {
    const idem = instance()
    const [one, other] = [shop(idem), shop(idem, { conversation: () => 'c2' })]
    await one.ask(['call_1', 'ch_1'])
    await other.ask(['call_1', 'ch_1'])
    expect([one.runs(), other.runs()]).toEqual([1, 1])
  })

  test('the same id with another input is told to the model as an error', async () => {
    const { ask, runs } = shop(instance())
    await ask(['call_1', 'ch_1'])
    expect(await ask(['call_1', 'ch_2'])).toEqual([
      expect.stringContaining('used before for a different request'),
    ])
    expect(runs()).toBe(1)
  })
})

describe('by the intention', () => {
  test('a model that calls again with another id has one effect', async () => {
    const { ask, runs } = shop(instance(), { key: ({ charge }: Input) => `refund:${charge}` })
    expect(await ask(['call_1', 'ch_1'])).toEqual([{ refund: 1 }])
    expect(await ask(['call_2', 'ch_1'])).toEqual([{ refund: 1 }])
    expect(await ask(['call_3', 'ch_2'])).toEqual([{ refund: 2 }])
    expect(runs()).toBe(2)
  })

  test('without a key nothing runs', async () => {
    const { ask, runs } = shop(instance(), { key: () => undefined })
    expect(await ask(['call_1', 'ch_1'])).toEqual([expect.stringContaining('requires an idempotency key')])
    expect(runs()).toBe(0)
  })
})

test.each([
  ['release', ['no', 'no'], 2],
  ['keep', ['no', 'no'], 1],
  ['unknown', ['no', 'must be reconciled'], 1],
])('a handler that throws, with onError %s', async (onError, messages, runsExpected) => {
  const { ask, runs } = shop(instance(), { conversation: 'c1', onError }, () => {
    throw new Error('no')
  })
  for (const message of messages) {
    expect(await ask(['call_1', 'ch_1'])).toEqual([expect.stringContaining(message)])
  }
  expect(runs()).toBe(runsExpected)
})

test('options are checked where the tool is made', () => {
  const make = (options: object) => () => {
    const given = { operation: 'refund', principal: 'anonymous', ...options }
    return idempotentTool(instance(), given as never, () => 1)
  }
  expect(make({})).toThrow(/conversation or key must be given/)
  expect(make({ conversation: 'c', key: () => 'k' })).toThrow(/conversation or key/)
  expect(make({ conversation: '' })).toThrow(/conversation must be/)
  expect(make({ key: 'id' })).toThrow(/key must be a function/)
  expect(make({ conversation: 'c', keys: 1 })).toThrow(/is not known/)
})
