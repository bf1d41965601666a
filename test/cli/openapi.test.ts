/** `retrysafe openapi` as a process, on files. */
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { Document, parse } from 'yaml'
import { editedText } from '../../src/cli/openapi/edit.ts'
import { readSource } from '../../src/cli/openapi/source.ts'
import { isSame } from '../../src/openapi/json.ts'
import { lintDocument } from '../../src/openapi/lint.ts'
import { patchDocument } from '../../src/openapi/patch.ts'
import { emptyFolder, run, start } from './program.ts'

vi.setConfig({ testTimeout: 60_000 })

const shop = `openapi: 3.1.0   # the version
info: { title: Shop, version: "1" }
paths:
  # money
  /charges:
    get:
      responses:
        200: {description: All.}   # flow
    post:
      summary: 'Pay'  # single quotes
      responses:
        201:
          description: Made.   # here
        '409':
          description: >
            The charge
            exists.
        # no 404
  /hooks:
    post:
      x-idempotency: false
      responses:
        '204': { description: Taken. }
components:
  schemas:
    Charge: {type: object}
# the end
`

function folderWith(name: string, text: string): string {
  const folder = emptyFolder()
  writeFileSync(join(folder, name), text)
  return folder
}

describe('openapi lint', () => {
  test('names file, line, rule and operation, and fails', async () => {
    const { code, output } = await run(folderWith('shop.yaml', shop), 'openapi', 'lint', 'shop.yaml')
    expect(output).toMatch(/^shop\.yaml:9: error key-undeclared: POST \/charges: /)
    expect(output).toContain('1 error, 0 notes.')
    expect(code).toBe(1)
  })

  test('prints JSON for programs', async () => {
    const { code, output } = await run(
      folderWith('shop.yaml', shop),
      'openapi',
      'lint',
      '--json',
      'shop.yaml',
    )
    expect(JSON.parse(output)).toEqual([
      expect.objectContaining({
        file: 'shop.yaml',
        line: 9,
        level: 'error',
        code: 'key-undeclared',
        method: 'POST',
        path: '/charges',
        pointer: '/paths/~1charges/post',
      }),
    ])
    expect(code).toBe(1)
  })

  test('is content with a good document, and with one that has only notes', async () => {
    const text = 'openapi: 3.1.0\npaths:\n  /a: { $ref: a.yaml }\n'
    const { code, output } = await run(folderWith('a.yaml', text), 'openapi', 'lint', 'a.yaml')
    expect(output).toMatch(/a\.yaml:3: note reference-not-followed: \/a: /)
    expect(code).toBe(0)
    const good = await run(
      folderWith('b.json', '{"openapi":"3.0.3","paths":{}}'),
      'openapi',
      'lint',
      'b.json',
    )
    expect(good).toEqual({ code: 0, output: 'b.json: nothing to mend.\n' })
  })

  test('reads a URL', async () => {
    const server = createServer((request, response) => {
      if (request.url !== '/shop.yaml') response.statusCode = 404
      response.end(shop)
    }).listen(0, '127.0.0.1')
    onTestFinished(() => void server.close())
    await vi.waitUntil(() => server.listening)
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    expect((await run(emptyFolder(), 'openapi', 'lint', `${origin}/shop.yaml`)).output).toContain(
      'shop.yaml:9: error',
    )
    const missing = await run(emptyFolder(), 'openapi', 'lint', `${origin}/none`)
    expect(missing).toMatchObject({ code: 1, output: expect.stringContaining('the server answered 404') })
  })

  test.each([
    [['lint'], /Name the OpenAPI document/],
    [['lint', 'none.yaml'], /none\.yaml cannot be read/],
    [['lint', 'broken.yaml'], /broken\.yaml:3: /],
    [['lint', 'other.yaml'], /must be an OpenAPI document/],
    [['lint', 'text.yaml'], /is no OpenAPI document/],
    [['lint', 'a.yaml', 'b.yaml'], /b\.yaml is no flag, and one word is expected/],
    [['lint', 'a.yaml', '--jsn'], /--jsn is not known.*--json/],
    [['patch', 'a.yaml', '--operation', 'POST /none'], /POST \/none/],
    [['patch', 'a.yaml', '--retention', 'long'], /retention/],
    [['patch', 'a.yaml', '--out', 'b', '--write'], /exclude each other/],
    [['patch', 'a.yaml', '--scope', 'x'], /scope/],
    [['frobnicate'], /no command of retrysafe openapi/],
    [[], /Say what to do/],
  ])('refuses %j with exit code 2', async (words, message) => {
    const folder = folderWith('a.yaml', shop)
    writeFileSync(join(folder, 'broken.yaml'), 'openapi: 3.1.0\npaths: [\n')
    writeFileSync(join(folder, 'other.yaml'), 'asyncapi: 2.0.0\n')
    writeFileSync(join(folder, 'text.yaml'), 'just words\n')
    const { code, output } = await run(folder, 'openapi', ...words)
    expect(output).toMatch(message)
    expect(code).toBe(2)
  })
})

describe('openapi patch', () => {
  test('adds lines to YAML and changes no other', async () => {
    const folder = folderWith('shop.yaml', shop)
    const { code, output } = await run(
      folder,
      'openapi',
      'patch',
      'shop.yaml',
      '--required',
      '--retention',
      '48h',
      '--out',
      'told.yaml',
    )
    expect({ code, output }).toEqual({ code: 0, output: '1 operation changed: POST /charges.\n' })
    expect(readFileSync(join(folder, 'shop.yaml'), 'utf8')).toBe(shop)
    const told = readFileSync(join(folder, 'told.yaml'), 'utf8')
    // Every line of the author is there, in order; only the joined description is written anew.
    const own = shop.split('\n').filter((line) => !/description: >|The charge$|exists\.$/.test(line))
    let from = 0
    const lines = told.split('\n')
    for (const line of own) {
      const at = lines.indexOf(line, from)
      expect(at, line).toBeGreaterThanOrEqual(from)
      from = at + 1
    }
    expect(parse(told)).toMatchObject({
      paths: { '/charges': { post: { 'x-idempotency': { required: true, retention: 'PT48H' } } } },
    })
    expect((await run(folder, 'openapi', 'lint', 'told.yaml')).code).toBe(0)

    const again = await run(folder, 'openapi', 'patch', 'told.yaml', '--write', '--required')
    expect(again).toEqual({ code: 0, output: 'Nothing to add.\n' })
    expect(readFileSync(join(folder, 'told.yaml'), 'utf8')).toBe(told)
  })

  test('keeps the indentation, the numbers and the line ends of JSON', async () => {
    const json = `{\r\n\t"openapi": "3.0.3",\r\n\t"paths": {\r\n\t\t"/a": {\r\n\t\t\t"post": { "x-cost": 1.0, "responses": {} },\r\n\t\t\t"patch": {\r\n\t\t\t\t"tags": ["b", "c"]\r\n\t\t\t}\r\n\t\t}\r\n\t}\r\n}`
    const folder = folderWith('a.json', json)
    const { code } = await run(folder, 'openapi', 'patch', 'a.json', '--write', '--operation', 'PATCH /a')
    const told = readFileSync(join(folder, 'a.json'), 'utf8')
    expect(code).toBe(0)
    expect(told).toContain('"post": { "x-cost": 1.0, "responses": {} },\r\n')
    expect(told).toContain(
      '\t\t\t\t"tags": ["b", "c"],\r\n\t\t\t\t"parameters": [\r\n\t\t\t\t\t{\r\n\t\t\t\t\t\t"$ref"',
    )
    expect(told.replaceAll('\r\n', '')).not.toContain('\n')
    expect(JSON.parse(told)).toMatchObject({ paths: { '/a': { post: { responses: {} } } } })
    const both = await run(
      folder,
      'openapi',
      'patch',
      'a.json',
      '--operation',
      'POST /a',
      '--operation',
      'patch /a',
    )
    expect(both.output).toContain('1 operation changed: POST /a.')
  })

  test('writes to standard output where no file is named, a file of one line as one line', async () => {
    const { child, ended, output } = start(
      folderWith('a.json', '{"openapi":"3.1.0","paths":{"/a":{"post":{}}}}'),
      'openapi',
      'patch',
      'a.json',
    )
    let text = ''
    child.stdout?.on('data', (piece: Buffer) => (text += piece.toString()))
    expect(await ended).toBe(0)
    expect(lintDocument(JSON.parse(text) as object)).toEqual([])
    expect(text).not.toContain('\n')
    expect(output()).toContain('1 operation changed')
  })
})

describe('a change of a file', () => {
  const edited = (text: string, change: (value: object) => object): string => {
    const source = readSource('a.yaml', text)
    return editedText(source, change(source.value))
  }

  test.each([
    [
      'an alias of a whole operation',
      'openapi: 3.1.0\npaths:\n  /a:\n    post: &one # first\n      responses:\n        200: { description: Yes. }\n    patch: *one\n    get: *one\n',
    ],
    [
      'an alias of responses',
      'openapi: 3.1.0\npaths:\n  /a:\n    get:\n      responses: &r\n        200:\n          description: Yes.\n    post:\n      responses: *r\n',
    ],
    [
      'a merged map',
      'openapi: 3.1.0\nx-c: &c\n  tags: [a]\n  responses: { 200: { description: Yes. } }\npaths:\n  /a:\n    post:\n      <<: *c\n      summary: Pay\n',
    ],
    [
      'lists at the margin of their key',
      'openapi: 3.1.0\npaths:\n  /a:\n    post:\n      parameters:\n      - name: x\n        in: query\n      tags:\n      - a\n',
    ],
    [
      'four spaces',
      'openapi: 3.1.0\npaths:\n    /a:\n        post:\n            responses:\n                "200":\n                    description: |\n                        Two\n                        lines.\n',
    ],
    ['an empty operation', 'openapi: 3.1.0\npaths:\n  /a:\n    post:\n    patch: {}\n'],
    [
      'a description with a comment',
      'openapi: 3.1.0\npaths:\n  /a:\n    post:\n      responses:\n        409:\n          description: No. # why\n',
    ],
    [
      'a file without a last line end',
      'openapi: 3.1.0\npaths:\n  /a:\n    post:\n      responses:\n        409:\n          description: |\n            No.',
    ],
    ['an empty components section', 'openapi: 3.1.0\npaths: {/a: {post: {responses: {}}}}\ncomponents:\n'],
    ['a document between markers', '---\nopenapi: 3.1.0\npaths:\n  /a:\n    post:\n      summary: x\n...\n'],
  ])('copes with %s', (_, text) => {
    const told = edited(text, (value) => patchDocument(value))
    expect(isSame(parse(told, { merge: true }), patchDocument(parse(text, { merge: true }) as object))).toBe(
      true,
    )
    for (const comment of text.match(/#.*/g) ?? []) expect(told).toContain(comment)
    expect(edited(told, (value) => patchDocument(value))).toBe(told)
  })

  test('is read back as what was meant, whatever the style of the file', () => {
    const text = fc.constantFrom('', 'One.', 'Two\nlines.', 'a: b # c')
    const operation = fc.record(
      {
        summary: text,
        tags: fc.array(text, { maxLength: 2 }),
        responses: fc.dictionary(fc.constantFrom('200', '409', '422'), fc.record({ description: text }), {
          maxKeys: 3,
        }),
      },
      { requiredKeys: [] },
    )
    const documents = fc.record({
      openapi: fc.constant('3.1.0'),
      paths: fc.dictionary(
        fc.constantFrom('/a', '/b'),
        fc.record({ post: operation, patch: operation }, { requiredKeys: [] }),
        { maxKeys: 2 },
      ),
    })
    fc.assert(
      fc.property(
        documents,
        fc.constantFrom(undefined, 2, '\t'),
        fc.boolean(),
        (document, indent, isYaml) => {
          const written = isYaml ? yamlOf(document) : JSON.stringify(document, null, indent)
          const source = readSource('a', written)
          const after = patchDocument(source.value)
          const told = editedText(source, after)
          expect(isSame(parse(told), after)).toBe(true)
          if (!isYaml) JSON.parse(told)
        },
      ),
      { numRuns: 120 },
    )
  })
})

function yamlOf(document: object): string {
  return new Document(document).toString()
}
