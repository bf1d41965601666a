/** Responses of Node whose octets have been read. */

const utf8 = new TextDecoder()

/**
 * A response that gives these octets. In Node a `Response` of its own for a body costs a quarter of a whole call, so
 * it is made only where somebody asks for more than text or JSON.
 */
export class WholeResponse extends Response {
  readonly #read: Response
  readonly #octets: ArrayBuffer
  /** Once the octets have been given: `#read`, whose body is used. */
  #source: Response | undefined

  /** @param read the response that the octets were read from */
  constructor(read: Response, octets: ArrayBuffer) {
    super(null, read)
    this.#read = read
    this.#octets = octets
  }

  #whole(): Response {
    return (this.#source ??= new Response(this.#octets, this.#read))
  }

  override get url(): string {
    return this.#read.url
  }

  override get body(): Response['body'] {
    return this.#whole().body
  }

  override get bodyUsed(): boolean {
    return this.#source?.bodyUsed ?? false
  }

  override async text(): Promise<string> {
    if (this.#source !== undefined) return await this.#source.text()
    this.#source = this.#read
    return utf8.decode(this.#octets)
  }

  override async json(): Promise<unknown> {
    return JSON.parse(await this.text()) as unknown
  }

  override async arrayBuffer(): Promise<ArrayBuffer> {
    return await this.#whole().arrayBuffer()
  }

  override async blob(): Promise<Blob> {
    return await this.#whole().blob()
  }

  override async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    return await this.#whole().bytes()
  }

  override async formData(): Promise<FormData> {
    return await this.#whole().formData()
  }

  override clone(): Response {
    return this.#whole().clone()
  }
}

/** Other runtimes send a response on by what is inside of it, not by what it shows. */
export const isNode: boolean = globalThis.navigator?.userAgent?.startsWith('Node.js/') ?? false
