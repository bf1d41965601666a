/** The shapes of answers that a server under test offers, and what each of them is. */

const binary: Uint8Array = Uint8Array.from({ length: 512 }, (_, at) => at & 255)
const octetsOf = (text: string): Uint8Array => new TextEncoder().encode(text)

/** What the handlers of a server under test answer with. Each in its framework's ordinary way. */
export const fidelityContent: {
  /** Answered by `json` with 201. */
  readonly json: { readonly id: string; readonly text: string; readonly amount: number }
  readonly octets: Uint8Array
  readonly text: string
  /** Written one by one by `pieces`. */
  readonly pieces: readonly string[]
  /** Streamed by `stream`. */
  readonly stream: readonly Uint8Array[]
  /** Streamed by `megabyte`, one after the other. */
  readonly megabyte: readonly Uint8Array[]
  /** Sent from a file by `file`. */
  readonly file: string
  /** Answered by `declined` with 402. */
  readonly declined: { readonly error: string }
  /** Written one by one by `event-stream`. */
  readonly events: readonly string[]
} = {
  json: { id: 'ch_1', text: 'na\u00efve \u2603', amount: 12.5 },
  octets: binary,
  text: 'gr\u00fc\u00df dich',
  pieces: ['one ', 'two ', 'three'],
  stream: [octetsOf('a'), octetsOf('b'), binary, octetsOf('c')],
  megabyte: Array.from({ length: 16 }, (_, at) => new Uint8Array(65_536).fill(at)),
  file: 'receipt '.repeat(1_000),
  declined: { error: 'card declined' },
  events: ['data: 1\n\n', 'data: 2\n\n'],
}

/** What becomes of a shape's answer under a key. */
export type ShapeEnd =
  /** It is an outcome: a retry gets the same octets. */
  | 'replayed'
  /** It is an outcome whose body is not kept: a retry gets the head, and no run. */
  | 'omitted'
  /** It is none: a retry runs. */
  | 'released'
  /** It broke off: nobody may take it for a whole success. */
  | 'broken'

export type FidelityShapeName =
  | 'json'
  | 'octets'
  | 'text'
  | 'empty'
  | 'null'
  | 'pieces'
  | 'stream'
  | 'head'
  | 'no-content'
  | 'redirect'
  | 'file'
  | 'cookies'
  | 'megabyte'
  | 'declined'
  | 'validator'
  | 'not-modified'
  | 'event-stream'
  | 'thrown'
  | 'thrown-late'

export interface FidelityShape {
  readonly name: FidelityShapeName
  /** What the handler does. */
  readonly does: string
  readonly status: number
  /** `undefined`: not looked at. */
  readonly body: Uint8Array | undefined
  /** Fields that must be there, in lower case, with what their value begins with. */
  readonly fields?: Readonly<Record<string, string>>
  readonly end: ShapeEnd
}

const nothing = new Uint8Array(0)
const joined = (pieces: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(pieces))
const { json, octets, text, pieces, stream, megabyte, file, declined, events } = fidelityContent

/** Every shape, for the routes of a server under test. */
export const fidelityShapes: readonly FidelityShape[] = [
  {
    name: 'json',
    does: 'JSON with 201 and a Location of /charges/1',
    status: 201,
    body: octetsOf(JSON.stringify(json)),
    fields: { 'content-type': 'application/json', location: '/charges/1' },
    end: 'replayed',
  },
  {
    name: 'octets',
    does: '512 octets as application/octet-stream',
    status: 200,
    body: octets,
    fields: { 'content-type': 'application/octet-stream' },
    end: 'replayed',
  },
  {
    name: 'text',
    does: 'text outside of ASCII as text/plain',
    status: 200,
    body: octetsOf(text),
    fields: { 'content-type': 'text/plain' },
    end: 'replayed',
  },
  { name: 'empty', does: '200 and no body', status: 200, body: nothing, end: 'replayed' },
  { name: 'null', does: 'the JSON value null', status: 200, body: undefined, end: 'replayed' },
  {
    name: 'pieces',
    does: 'three writes, then the end',
    status: 200,
    body: octetsOf(pieces.join('')),
    end: 'replayed',
  },
  {
    name: 'stream',
    does: 'a stream of the framework, without Content-Length',
    status: 200,
    body: joined(stream),
    end: 'replayed',
  },
  {
    name: 'head',
    does: '202 with X-Twice in two lines and X-One, head and body given separately',
    status: 202,
    body: octetsOf('accepted'),
    fields: { 'x-twice': '1', 'x-one': '1' },
    end: 'replayed',
  },
  { name: 'no-content', does: '204', status: 204, body: nothing, end: 'replayed' },
  {
    name: 'redirect',
    does: '303 to /charges/1',
    status: 303,
    body: undefined,
    fields: { location: '/charges/1' },
    end: 'replayed',
  },
  {
    name: 'file',
    does: 'a file as text/plain',
    status: 200,
    body: octetsOf(file),
    fields: { 'content-type': 'text/plain' },
    end: 'replayed',
  },
  {
    name: 'cookies',
    does: 'JSON with two cookies, a=1 and b=2',
    status: 200,
    body: undefined,
    fields: { 'set-cookie': 'a=1' },
    end: 'replayed',
  },
  {
    name: 'megabyte',
    does: '1 MB in 16 pieces',
    status: 200,
    body: joined(megabyte),
    end: 'replayed',
  },
  {
    name: 'declined',
    does: 'JSON with 402',
    status: 402,
    body: octetsOf(JSON.stringify(declined)),
    end: 'replayed',
  },
  {
    name: 'validator',
    does: 'JSON with ETag "1" and Cache-Control: private',
    status: 200,
    body: undefined,
    fields: { etag: '"1"', 'cache-control': 'private' },
    end: 'replayed',
  },
  {
    name: 'not-modified',
    does: '304 with ETag "1"',
    status: 304,
    body: nothing,
    fields: { etag: '"1"' },
    end: 'replayed',
  },
  {
    name: 'event-stream',
    does: 'two events, then the end',
    status: 200,
    body: octetsOf(events.join('')),
    fields: { 'content-type': 'text/event-stream' },
    end: 'omitted',
  },
  {
    name: 'thrown',
    does: 'throws; the error path of the framework answers 500 and shows no stack',
    status: 500,
    body: undefined,
    end: 'released',
  },
  {
    name: 'thrown-late',
    does: 'writes a piece and throws; nothing else ends the answer',
    status: 200,
    body: undefined,
    end: 'broken',
  },
]
