/** A server that answers its requests one after the other as a test says, and keeps what it was sent. */
import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import { serve } from '../../http/serving.ts'

export interface Received {
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/** What is done with one request, once it is read. */
export type Step = (response: ServerResponse, request: Received) => void

export interface ScriptedServer {
  readonly origin: string
  readonly received: readonly Received[]
}

/** The last step is for all further requests. `pages` are for a browser, by path, and no part of the script. */
export async function scripted(
  ...given: readonly Step[] | readonly [Readonly<Record<string, Step>>, ...Step[]]
): Promise<ScriptedServer> {
  const pages = typeof given[0] === 'object' ? given[0] : {}
  const steps = given.filter((each) => typeof each === 'function')
  const received: Received[] = []
  const { origin } = await serve(async (request, response) => {
    const body = Buffer.concat(await request.toArray())
    const { method = '', url = '', headers } = request
    const asked = { method, url, headers, body }
    const page = pages[url]
    if (page !== undefined) {
      page(response, asked)
      return
    }
    const step = steps[Math.min(received.length, steps.length - 1)] as Step
    received.push(asked)
    step(response, asked)
  })
  return { origin, received }
}

export function answers(status: number, body: unknown = {}, headers: Record<string, string> = {}): Step {
  return (response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
  }
}

export function problem(status: number, code: string, headers: Record<string, string> = {}): Step {
  return answers(status, { code, title: 'x' }, { 'content-type': 'application/problem+json', ...headers })
}

export function redirects(status: number, location: string): Step {
  return (response) => response.writeHead(status, { location }).end()
}

/** The request was read, and no answer comes. */
export const lost: Step = (response) => response.destroy()

/** The answer breaks off. */
export const cut: Step = (response) => {
  response.writeHead(201, { 'content-type': 'application/json', 'content-length': '100' })
  response.write('{"id":', () => response.destroy())
}

export const silent: Step = () => {}
