/** A response whose octets were read shows them as any other, and as often. */
import { describe, expect, test } from 'vitest'
import { whole } from '../../src/client/whole-node.ts'

const json = '{"amount":100}'

async function wholeOf(body: BodyInit, init: ResponseInit = {}): Promise<Response> {
  const response = new Response(body, init)
  await whole(response)
  return response
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
    const response = await wholeOf(body)
    const other = new Response(body)
    expect(response.bodyUsed).toBe(false)
    expect(await shown(await response[reader]())).toBe(await shown(await other[reader]()))
    expect(response.bodyUsed).toBe(other.bodyUsed)
    if (reader !== 'clone') {
      for (const next of readers)
        await expect((async () => await response[next]())()).rejects.toBeInstanceOf(TypeError)
    }
  })

  test('after a look at the body', async () => {
    const response = await wholeOf(body)
    expect(response.body).toBeInstanceOf(ReadableStream)
    expect(response.body).toBe(response.body)
    expect(await shown(await response[reader]())).toBe(await shown(await new Response(body)[reader]()))
  })
})

test('a stream of it is read once', async () => {
  const response = await wholeOf(json)
  expect(await new Response(response.body).text()).toBe(json)
  expect(response.bodyUsed).toBe(true)
  await expect(response.text()).rejects.toBeInstanceOf(TypeError)
})

test('head and marks are those of the answer', async () => {
  const headers = { 'x-one': '1', 'content-type': 'application/json' }
  const response = await wholeOf(json, { status: 201, statusText: 'Made', headers })
  expect(response).toBeInstanceOf(Response)
  expect([response.status, response.statusText, response.ok, ...response.headers]).toEqual([
    201,
    'Made',
    true,
    ['content-type', 'application/json'],
    ['x-one', '1'],
  ])
  const copy = response.clone()
  expect([copy.status, copy.headers.get('x-one'), await copy.json()]).toEqual([201, '1', { amount: 100 }])
})

test('a byte order mark is no part of the text, and what is no JSON is refused', async () => {
  expect(await (await wholeOf('\uFEFFtext')).text()).toBe('text')
  await expect((await wholeOf('{')).json()).rejects.toBeInstanceOf(SyntaxError)
})

test('it says where it came from, and its copies do', async () => {
  const response = await fetch('data:text/plain,octets')
  await whole(response)
  const copy = response.clone()
  for (const each of [response, copy, copy.clone()]) {
    expect([each.url, each.type, each.redirected]).toEqual(['data:text/plain,octets', 'basic', false])
  }
  expect([await copy.text(), await response.text()]).toEqual(['octets', 'octets'])
  expect(() => copy.clone()).toThrow(TypeError)
  await expect(copy.arrayBuffer()).rejects.toBeInstanceOf(TypeError)
})
