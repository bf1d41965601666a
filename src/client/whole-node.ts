/** Responses of Node whose octets have been read. */

const utf8 = new TextDecoder()
const octets = Symbol('octets')
const giver = Symbol('giver')
const head = Symbol('head')

/** What of a `Response` is overridden, as an interface: the types of browsers and of Node make other classes of it. */
interface Given {
  readonly url: string
  readonly status: number
  readonly statusText: string
  readonly ok: boolean
  readonly redirected: boolean
  readonly type: Response['type']
  readonly headers: Headers
  readonly body: Response['body']
  readonly bodyUsed: boolean
  text(): Promise<string>
  json(): Promise<unknown>
  arrayBuffer(): Promise<ArrayBuffer>
  blob(): Promise<Blob>
  bytes(): Promise<Uint8Array>
  formData(): Promise<FormData>
  clone(): Response
}

const GivenResponse = Response as unknown as new () => Given

/**
 * What a response becomes when its octets have been read: it gives them once more. In Node a `Response` of its own for
 * them costs a quarter of a whole call, so the one that was read goes on, with its head, its address and its marks, and
 * another one is made only where somebody asks for more than text or JSON.
 */
class WholeResponse extends GivenResponse {
  declare [octets]: ArrayBuffer
  /** Gives the octets where they are asked for; `null` when they have been given as text. */
  declare [giver]: Response | null | undefined
  /** Of a clone: the one that has the head. */
  declare [head]: Response | undefined

  override get url(): string {
    return this[head]?.url ?? super.url
  }

  override get status(): number {
    return this[head]?.status ?? super.status
  }

  override get statusText(): string {
    return this[head]?.statusText ?? super.statusText
  }

  override get ok(): boolean {
    return this[head]?.ok ?? super.ok
  }

  override get redirected(): boolean {
    return this[head]?.redirected ?? super.redirected
  }

  override get type(): Response['type'] {
    return this[head]?.type ?? super.type
  }

  override get body(): Response['body'] {
    return this[giver] === null ? super.body : give(this).body
  }

  override get bodyUsed(): boolean {
    return this[giver] === null || (this[giver]?.bodyUsed ?? false)
  }

  override async text(): Promise<string> {
    if (this[giver] !== undefined) return await give(this).text()
    this[giver] = null
    return utf8.decode(this[octets])
  }

  override async json(): Promise<unknown> {
    return JSON.parse(await this.text()) as unknown
  }

  override async arrayBuffer(): Promise<ArrayBuffer> {
    return await give(this).arrayBuffer()
  }

  override async blob(): Promise<Blob> {
    return await give(this).blob()
  }

  override async bytes(): Promise<Uint8Array> {
    return await give(this).bytes()
  }

  override async formData(): Promise<FormData> {
    return await give(this).formData()
  }

  override clone(): Response {
    if (this.bodyUsed || this[giver]?.body?.locked === true) throw isUsed()
    const copy = new Response(null, { headers: this.headers })
    return Object.assign(asWhole(copy), { [octets]: this[octets], [head]: this[head] ?? this })
  }
}

/** A response that is made for the octets alone: not every status and phrase that is received can be made. */
function give(response: WholeResponse): Response {
  if (response[giver] === null) throw isUsed()
  return (response[giver] ??= new Response(response[octets], { headers: response.headers }))
}

function isUsed(): TypeError {
  return new TypeError('The body has been read already.')
}

function asWhole(response: Response): Response {
  return Object.setPrototypeOf(response, WholeResponse.prototype) as Response
}

/** Reads a response, which gives its octets from then on. */
export async function whole(response: Response): Promise<ArrayBuffer> {
  // What another class has made keeps its ways.
  if (Object.getPrototypeOf(response) !== Response.prototype) return await response.clone().arrayBuffer()
  const all = await response.arrayBuffer()
  Object.assign(asWhole(response), { [octets]: all })
  return all
}

/** Other runtimes send a response on by what is inside of it, not by what it shows. */
export const isNode: boolean = globalThis.navigator?.userAgent?.startsWith('Node.js/') ?? false
