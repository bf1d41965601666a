/** Bodies as the octets that every attempt sends. */
import { PassThrough, Readable } from 'node:stream'
import fc from 'fast-check'
import { FormData as UndiciForm } from 'undici'
import { expect, test } from 'vitest'
import { bodyOctetsMax, isOneShot, wholeBody } from '../../../src/client/whole-body.ts'

const pieces = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 })

/** Each way to hand over the same pieces. */
const sources: Readonly<Record<string, (given: readonly Uint8Array[]) => unknown>> = {
  'an iterable': (given) => given,
  'an async iterable': async function* each(given) {
    yield* given
  },
  'a stream of Node': (given) => Readable.from(given),
  'a stream of the platform': (given) =>
    new ReadableStream({
      start(controller) {
        for (const piece of given) controller.enqueue(piece)
        controller.close()
      },
    }),
  'a stream of the old kind': (given) => {
    const stream = new PassThrough()
    for (const piece of given) stream.write(piece)
    stream.end()
    return {
      on: (event: string, listener: () => void) => stream.on(event, listener),
      pipe: () => {},
      resume: () => stream.resume(),
    }
  },
}

test.each(Object.keys(sources))('%s: all octets, in their order', async (name) => {
  await fc.assert(
    fc.asyncProperty(pieces, async (given) => {
      const body = sources[name]?.(given)
      expect(isOneShot(body)).toBe(true)
      const { octets } = await wholeBody(body)
      expect(Buffer.from(octets as Uint8Array)).toEqual(Buffer.concat(given))
    }),
  )
})

test('views are copied, with their own part of the buffer', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 4 }), fc.nat(2), async (octets, at) => {
      const view = octets.subarray(at)
      const before = [...view]
      const whole = (await wholeBody(view)).octets as Uint8Array
      octets.fill(7)
      expect([...whole]).toEqual(before)
      expect(whole.buffer.byteLength).toBe(before.length)
    }),
  )
})

test.each([
  ['of the platform', FormData],
  ["of undici's package", UndiciForm],
])('a form %s keeps its boundary', async (_name, Form) => {
  const form = new Form()
  form.append('amount', '100')
  form.append('receipt', new File(['octets'], 'receipt.txt'))
  expect(isOneShot(form)).toBe(false)
  const { octets, contentType = '' } = await wholeBody(form)
  const parsed = await new Response(octets as Uint8Array<ArrayBuffer>, {
    headers: { 'content-type': contentType },
  }).formData()
  const file = parsed.get('receipt') as File
  expect([parsed.get('amount'), file.name, await file.text()]).toEqual(['100', 'receipt.txt', 'octets'])
})

test('what says its type', async () => {
  expect((await wholeBody(new Blob(['x'], { type: 'text/csv' }))).contentType).toBe('text/csv')
  const fields = await wholeBody(new URLSearchParams({ a: 'b' }))
  expect(fields.contentType).toMatch(/^application\/x-www-form-urlencoded/)
  expect((await wholeBody('text')).contentType).toBeUndefined()
})

test('a stream that fails, and one that is too large, are no body', async () => {
  const broken = new Readable({ read: () => void broken.destroy(new Error('of the disk')) })
  await expect(wholeBody(broken)).rejects.toThrow('of the disk')
  const piece = Buffer.alloc(2 ** 20)
  const endless = (function* endless(): Iterable<Uint8Array> {
    for (;;) yield piece
  })()
  await expect(wholeBody(endless)).rejects.toThrow(`must not have more than ${bodyOctetsMax} octets`)
})

test.each([[{ amount: 100 }], [7], [[{}]]])('%j is nothing that can be sent', async (body) => {
  await expect(wholeBody(body)).rejects.toMatchObject({ name: 'InvalidOptionError', option: 'body' })
})
