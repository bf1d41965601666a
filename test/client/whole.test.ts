/** A response whose octets were read shows them as any other, and as often. */
import { describe, expect, test } from 'vitest'
import { WholeResponse } from '../../src/client/whole-node.ts'

const json = '{"amount":100}'

async function wholeOf(body: BodyInit, init: ResponseInit = {}): Promise<Response> {
  const read = new Response(body, init)
  return new WholeResponse(read, await read.arrayBuffer())
}

const readers = ['text', 'json', 'arrayBuffer', 'blob', 'bytes', 'formData', 'clone'] as const

/** What is read, as text. */
async function shown(value: unknown): Promise<string> {
  if (typeof value === 'string') return value
  if (value instanceof Response || value instanceof Blob) return await value.text()
  if (value instanceof ArrayBuffer || value instanceof Uint8Array)
    return Buffer.from(value as Uint8Array).toString()
  if (value instanceof FormData) return JSON.stringify([...value])
  return JSON.stringify(value)
}

describe.each(readers)('%s', (reader) => {
  const body = reader === 'formData' ? new URLSearchParams({ a: '1' }) : json

  test('gives what another response gives, once', async () => {
    const whole = await wholeOf(body)
    const other = new Response(body)
    expect(whole.bodyUsed).toBe(false)
    expect(await shown(await whole[reader]())).toBe(await shown(await other[reader]()))
    expect(whole.bodyUsed).toBe(other.bodyUsed)
    if (reader !== 'clone') {
      for (const next of readers)
        await expect((async () => await whole[next]())()).rejects.toBeInstanceOf(TypeError)
    }
  })

  test('after a look at the body', async () => {
    const whole = await wholeOf(body)
    expect(whole.body).toBeInstanceOf(ReadableStream)
    expect(whole.body).toBe(whole.body)
    expect(await shown(await whole[reader]())).toBe(await shown(await new Response(body)[reader]()))
  })
})

test('a stream of it is read once', async () => {
  const whole = await wholeOf(json)
  expect(await new Response(whole.body).text()).toBe(json)
  expect(whole.bodyUsed).toBe(true)
  await expect(whole.text()).rejects.toBeInstanceOf(TypeError)
})

test('head and marks are those of the answer', async () => {
  const headers = { 'x-one': '1', 'content-type': 'application/json' }
  const whole = await wholeOf(json, { status: 201, statusText: 'Made', headers })
  expect(whole).toBeInstanceOf(Response)
  expect([whole.status, whole.statusText, whole.ok, ...whole.headers]).toEqual([
    201,
    'Made',
    true,
    ['content-type', 'application/json'],
    ['x-one', '1'],
  ])
  const copy = whole.clone()
  expect([copy.status, copy.headers.get('x-one'), await copy.json()]).toEqual([201, '1', { amount: 100 }])
})

test('a byte order mark is no part of the text, and what is no JSON is refused', async () => {
  expect(await (await wholeOf('\uFEFFtext')).text()).toBe('text')
  await expect((await wholeOf('{')).json()).rejects.toBeInstanceOf(SyntaxError)
})
