/** The shapes as fetch responses, for frameworks whose handlers return them. */
import { openAsBlob } from 'node:fs'
import {
  fidelityContent as content,
  type FidelityShapeName,
} from '../../../src/verification/http-fidelity.ts'

function streamed(
  pieces: readonly (string | Uint8Array)[],
  failsAfter = Infinity,
): ReadableStream<Uint8Array> {
  let at = 0
  return new ReadableStream({
    pull(controller): void {
      const piece = pieces[at++]
      if (at > failsAfter) controller.error(new Error('boom'))
      else if (piece === undefined) controller.close()
      else controller.enqueue(typeof piece === 'string' ? new TextEncoder().encode(piece) : piece)
    },
  })
}

/** Makes a new response of a shape at each call. `file`: path of what the shape `file` sends. */
export function responsesOf(file: string): Record<FidelityShapeName, () => Response | Promise<Response>> {
  const octets = (
    pieces: readonly (string | Uint8Array)[],
    failsAfter?: number,
  ): ReadableStream<Uint8Array<ArrayBuffer>> =>
    streamed(pieces, failsAfter) as ReadableStream<Uint8Array<ArrayBuffer>>
  return {
    json: () => Response.json(content.json, { status: 201, headers: { Location: '/charges/1' } }),
    octets: () =>
      new Response(Buffer.from(content.octets), { headers: { 'Content-Type': 'application/octet-stream' } }),
    text: () => new Response(content.text),
    empty: () => new Response(null),
    null: () => Response.json(null),
    pieces: () => new Response(octets(content.pieces)),
    stream: () => new Response(octets(content.stream)),
    head: () =>
      new Response('accepted', {
        status: 202,
        headers: [
          ['X-Twice', '1'],
          ['X-Twice', '2'],
          ['X-One', '1'],
          // Left out, it depends on how the server looks at the response.
          ['Content-Type', 'text/plain'],
        ],
      }),
    'no-content': () => new Response(null, { status: 204 }),
    redirect: () => new Response(null, { status: 303, headers: { Location: '/charges/1' } }),
    file: async () => new Response(await openAsBlob(file, { type: 'text/plain' })),
    cookies: () =>
      Response.json(
        {},
        {
          headers: [
            ['Set-Cookie', 'a=1'],
            ['Set-Cookie', 'b=2'],
          ],
        },
      ),
    megabyte: () => new Response(octets(content.megabyte)),
    declined: () => Response.json(content.declined, { status: 402 }),
    validator: () => Response.json({}, { headers: { ETag: '"1"', 'Cache-Control': 'private' } }),
    'not-modified': () => new Response(null, { status: 304, headers: { ETag: '"1"' } }),
    'event-stream': () =>
      new Response(octets(content.events), { headers: { 'Content-Type': 'text/event-stream' } }),
    thrown() {
      throw new Error('boom')
    },
    'thrown-late': () => new Response(octets(['half', 'never'], 1)),
  }
}
