/** Responses of Node whose octets have been read. */

/**
 * A response that gives these octets. In Node a `Response` of its own for a body costs a quarter of a whole call, so
 * it is made only where somebody asks for more than text or JSON.
 */
export function wholeInNode(read: Response, octets: ArrayBuffer): Response {
  const given = new Response(null, read)
  // Once the octets have been given: `read`, whose body is used.
  let source: Response | undefined
  const body = (): Response => (source ??= new Response(octets, read))
  async function text(): Promise<string> {
    if (source !== undefined) return await source.text()
    source = read
    return new TextDecoder().decode(octets)
  }
  const own = (value: unknown): PropertyDescriptor => ({ value, configurable: true, writable: true })
  const shown = (get: () => unknown): PropertyDescriptor => ({ get, configurable: true })
  return Object.defineProperties(given, {
    text: own(text),
    json: own(async () => JSON.parse(await text())),
    arrayBuffer: own(async () => await body().arrayBuffer()),
    blob: own(async () => await body().blob()),
    bytes: own(async () => await body().bytes()),
    formData: own(async () => await body().formData()),
    clone: own(() => body().clone()),
    body: shown(() => body().body),
    bodyUsed: shown(() => source?.bodyUsed ?? false),
  })
}

/** Other runtimes send a response on by what is inside of it, not by what it shows. */
export const isNode: boolean = globalThis.navigator?.userAgent?.startsWith('Node.js/') ?? false
