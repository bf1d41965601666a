/** A header field as it came: name in the sender's case, value without surrounding white space. */
export type HeaderField = readonly [name: string, value: string]

/** A response that breaks HTTP/1.1 framing or syntax. */
export class ResponseSyntaxError extends Error {
  override readonly name = 'ResponseSyntaxError'
}

const headOctetsMax = 64 * 1024
const headEnd = '\r\n\r\n'
const statusLine = /^HTTP\/1\.[01] ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?$/
const fieldLine = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/
const chunkLine = /^([0-9A-Fa-f]{1,8})(?:[ \t]*;.*)?$/

/**
 * Reads the octets of one connection as one final response, strictly.
 *
 * Phases: `head` (status line and fields; an interim 1xx returns here) → `length` | `chunk-size` | `close` →
 * `done`. `chunk-size` → `chunk-data` → `chunk-end` → `chunk-size`, or after the last chunk `trailer` → `done`.
 * Octets that come in `done` are counted in `excessOctets`.
 */
export class ResponseReader {
  readonly interim: number[] = []
  readonly faults: string[] = []
  status = 0
  headers: HeaderField[] = []
  excessOctets = 0
  bodyOctets = 0
  #phase: 'head' | 'length' | 'chunk-size' | 'chunk-data' | 'chunk-end' | 'trailer' | 'close' | 'done' =
    'head'
  #pending: Buffer = Buffer.alloc(0)
  #remaining = 0
  readonly #body: Buffer[] = []
  readonly #method: string

  constructor(method: string) {
    this.#method = method
  }

  get done(): boolean {
    return this.#phase === 'done'
  }

  /** Whether a final head was read. */
  get answered(): boolean {
    return this.status !== 0
  }

  get body(): Buffer {
    return Buffer.concat(this.#body)
  }

  /** Takes the next octets. Throws {@link ResponseSyntaxError}. */
  push(octets: Buffer): void {
    this.#pending = this.#pending.length === 0 ? octets : Buffer.concat([this.#pending, octets])
    while (this.#advance()) {
      // Each turn consumes octets or changes the phase, so pending octets bound the loop.
    }
  }

  /** Takes the end of the connection. Throws {@link ResponseSyntaxError} when the response is not whole. */
  end(): void {
    if (this.#phase === 'close') this.#phase = 'done'
    if (this.#phase !== 'done') {
      throw new ResponseSyntaxError(`connection ended in the middle of the response (${this.#phase})`)
    }
  }

  #advance(): boolean {
    switch (this.#phase) {
      case 'head':
        return this.#readHead()
      case 'length':
      case 'chunk-data':
        return this.#readCounted()
      case 'chunk-size':
        return this.#readChunkSize()
      case 'chunk-end':
        return this.#readChunkEnd()
      case 'trailer':
        return this.#readTrailer()
      case 'close':
        this.#keep(this.#take(this.#pending.length))
        return false
      case 'done':
        this.excessOctets += this.#take(this.#pending.length).length
        return false
      default: {
        const never: never = this.#phase
        return never
      }
    }
  }

  #take(count: number): Buffer {
    const taken = this.#pending.subarray(0, count)
    this.#pending = this.#pending.subarray(count)
    return taken
  }

  #keep(octets: Buffer): void {
    if (octets.length === 0) return
    this.bodyOctets += octets.length
    this.#body.push(octets)
  }

  #readLine(): string | undefined {
    const end = this.#pending.indexOf('\r\n')
    if (end === -1) {
      if (this.#pending.length > headOctetsMax) throw new ResponseSyntaxError('a line has no end')
      return undefined
    }
    const line = this.#take(end + 2).toString('latin1', 0, end)
    return line
  }

  #readHead(): boolean {
    const end = this.#pending.indexOf(headEnd)
    if (end === -1) {
      if (this.#pending.length > headOctetsMax) throw new ResponseSyntaxError('the head is too long')
      return false
    }
    const lines = this.#take(end + headEnd.length)
      .toString('latin1', 0, end)
      .split('\r\n')
    const status = statusLine.exec(lines[0] ?? '')?.[1]
    if (status === undefined) throw new ResponseSyntaxError(`bad status line ${JSON.stringify(lines[0])}`)
    const headers = lines.slice(1).map(parseField)
    if (Number(status) < 200) {
      this.interim.push(Number(status))
      return true
    }
    this.status = Number(status)
    this.headers = headers
    this.#chooseFraming()
    return true
  }

  #chooseFraming(): void {
    const lengths = headerValues(this.headers, 'content-length')
    const codings = headerValues(this.headers, 'transfer-encoding')
    if (lengths.length > 0 && codings.length > 0) {
      this.faults.push('both Content-Length and Transfer-Encoding')
    }
    if (lengths.some((value) => !/^[0-9]+$/.test(value)) || new Set(lengths).size > 1) {
      throw new ResponseSyntaxError(`bad Content-Length ${JSON.stringify(lengths)}`)
    }
    if (this.#method === 'HEAD' || this.status === 204 || this.status === 304) {
      this.#phase = 'done'
    } else if (codings.length > 0) {
      if (codings.join(',').trim().toLowerCase() !== 'chunked') {
        throw new ResponseSyntaxError(`unexpected Transfer-Encoding ${JSON.stringify(codings)}`)
      }
      this.#phase = 'chunk-size'
    } else if (lengths[0] !== undefined) {
      this.#remaining = Number(lengths[0])
      this.#phase = this.#remaining === 0 ? 'done' : 'length'
    } else {
      this.#phase = 'close'
    }
  }

  #readCounted(): boolean {
    if (this.#pending.length === 0) return false
    const part = this.#take(Math.min(this.#remaining, this.#pending.length))
    this.#remaining -= part.length
    this.#keep(part)
    if (this.#remaining > 0) return false
    this.#phase = this.#phase === 'length' ? 'done' : 'chunk-end'
    return true
  }

  #readChunkSize(): boolean {
    const line = this.#readLine()
    if (line === undefined) return false
    const size = chunkLine.exec(line)?.[1]
    if (size === undefined) throw new ResponseSyntaxError(`bad chunk size ${JSON.stringify(line)}`)
    this.#remaining = Number.parseInt(size, 16)
    this.#phase = this.#remaining === 0 ? 'trailer' : 'chunk-data'
    return true
  }

  #readChunkEnd(): boolean {
    if (this.#pending.length < 2) return false
    if (this.#take(2).toString('latin1') !== '\r\n')
      throw new ResponseSyntaxError('a chunk does not end where it says')
    this.#phase = 'chunk-size'
    return true
  }

  #readTrailer(): boolean {
    const line = this.#readLine()
    if (line === undefined) return false
    if (line === '') this.#phase = 'done'
    else parseField(line)
    return true
  }
}

function parseField(line: string): HeaderField {
  const match = fieldLine.exec(line)
  if (match?.[1] === undefined || match[2] === undefined) {
    throw new ResponseSyntaxError(`bad header line ${JSON.stringify(line)}`)
  }
  return [match[1], match[2]]
}

/** Values of every line named `name`, ignoring case, in order. */
export function headerValues(headers: readonly HeaderField[], name: string): string[] {
  const wanted = name.toLowerCase()
  return headers.filter(([field]) => field.toLowerCase() === wanted).map(([, value]) => value)
}
