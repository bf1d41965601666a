/**
 * A Lambda function that is safe to retry, behind a small stand-in for a function URL. From the root of a clone:
 *
 *   npm run example -- lambda
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { APIGatewayProxyEventV2 } from 'aws-lambda'
import { handler } from './function.ts'

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const pieces: Buffer[] = []
  for await (const piece of request) pieces.push(piece as Buffer)
  const { pathname, search } = new URL(request.url ?? '/', 'http://localhost')
  const event = {
    version: '2.0',
    routeKey: '$default',
    rawPath: pathname,
    rawQueryString: search.slice(1),
    headers: request.headers,
    requestContext: { http: { method: request.method, path: pathname } },
    body: Buffer.concat(pieces).toString(),
    isBase64Encoded: false,
  } as unknown as APIGatewayProxyEventV2
  const deadline = Date.now() + 29_000
  const result = await handler(event, { getRemainingTimeInMillis: () => deadline - Date.now() })
  response.writeHead(result.statusCode, result.headers)
  response.end(result.body)
}

const server = createServer((request, response) => void serve(request, response))

server.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1', () => {
  const { port } = server.address() as { port: number }
  console.log(`Listening on http://127.0.0.1:${port}`)
})
