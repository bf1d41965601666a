/** The service behind the proxies. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { serveParent } from './child.ts'

const answer = Buffer.from(JSON.stringify({ id: 'ch_3PqT1x', amount: 4_200, status: 'succeeded' }))
const server = createServer((request, response) => {
  request.resume().on('end', () => {
    response
      .writeHead(201, { 'content-type': 'application/json', 'content-length': answer.length })
      .end(answer)
  })
}).listen(0, '127.0.0.1')
await once(server, 'listening')
serveParent((server.address() as AddressInfo).port)
