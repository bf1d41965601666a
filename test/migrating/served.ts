/** One Express application, served with the layer of a peer or with ours, and requests to it. */
import express, { type NextFunction, type Request, type RequestHandler, type Response } from 'express'
import { type Answered, post, serve } from '../http/serving.ts'

export interface Shop {
  readonly origin: string
  /** How often the handler ran. */
  runs(): number
}

/** What the routes do beside counting. `/failing` fails the first time. */
export async function shop(...layers: RequestHandler[]): Promise<Shop> {
  const app = express()
  let runs = 0
  app.use(express.json())
  const routes: Record<string, (req: Request, res: Response) => unknown> = {
    '/charges': (_req, res) => res.status(201).location(`/charges/${runs}`).json({ id: runs }),
    '/redirect': (_req, res) => res.redirect(303, `/charges/${runs}`),
    '/declined': (_req, res) => res.status(402).json({ declined: runs }),
    '/failing': (_req, res) => {
      if (runs === 1) throw new Error('away')
      res.json({ id: runs })
    },
  }
  for (const [path, answer] of Object.entries(routes)) {
    app.post(path, ...layers, (req: Request, res: Response) => {
      runs += 1
      if (!res.headersSent) return answer(req, res)
      return undefined
    })
  }
  // As Express' own error page: it ends the response without `send`.
  app.use((_error: Error, _req: Request, res: Response, _next: NextFunction) => {
    if (res.headersSent) return
    if (res.statusCode < 400) res.status(500)
    res.type('text/plain').end('failed')
  })
  return { origin: (await serve(app)).origin, runs: () => runs }
}

/** Sends a charge with a key. */
export function charge(
  { origin }: Shop,
  given: { key?: string; path?: string; body?: string; headers?: Record<string, string> } = {},
): Promise<Answered> {
  const { key = 'k', path = '/charges', body = '{"amount":100}', headers = {} } = given
  return post(origin, { body, headers: { 'Idempotency-Key': key, ...headers } }, path)
}
