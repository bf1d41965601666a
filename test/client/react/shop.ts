/** A shop on Express with Retrysafe in front of its charges, which serves the pages of `app` and counts. */
import express from 'express'
import { createElement, StrictMode } from 'react'
import { renderToString } from 'react-dom/server'
import { idempotent, keepRawBody } from '../../../src/http/express.ts'
import { type ActionEngine, type HttpEngine, idempotentAction } from '../../../src/http/next.ts'
import { idempotent as idempotentRoute } from '../../../src/http/react-router.ts'
import { PlainForm } from './app/forms.ts'

/** The effects. */
export interface Ledger {
  /** Adds a charge and returns its number. */
  charge(amount: number): number
}

export interface ShopOptions {
  readonly idem: ActionEngine & HttpEngine
  readonly ledger: Ledger
  /** The code of the pages. */
  readonly script: string
  /** What a crash leaves of a charge. */
  readonly policy?: { readonly onUnknown: 'hold' | 'rerun'; readonly lease: '1s' }
  /** Waited for before a charge. */
  readonly before?: () => Promise<void>
  /** Waited for between a charge and its answer. */
  readonly after?: () => Promise<void>
}

const html = (content: string): string =>
  `<!doctype html><title>Shop</title><link rel="icon" href="data:,"><div id="root">${content}</div>` +
  '<script type="module" src="/main.js"></script>'

const principal = 'anonymous'

export function shop({ idem, ledger, script, policy, before, after }: ShopOptions): express.Express {
  async function charge(amount: number): Promise<number> {
    await before?.()
    const id = ledger.charge(amount)
    await after?.()
    return id
  }

  const app = express()
  app.get('/main.js', (_request, response) => void response.type('js').send(script))
  app.get('/rendered', (_request, response) => void response.send(html(rendered())))
  app.get(
    '/rendered-with-key',
    ({ query }, response) => void response.send(html(rendered(String(query['key'])))),
  )
  app.get('/{*path}', (_request, response) => void response.send(html('')))

  const parsed = express.json({ verify: keepRawBody })
  const layer = idempotent(idem, { principal, required: true, ...policy })
  app.post('/charges', parsed, layer, async (request, response) => {
    const { amount } = request.body as { amount: number }
    // As a card is declined.
    if (amount === 13) {
      ledger.charge(0)
      response.status(402).json({ declined: true })
      return
    }
    response.status(201).json({ id: await charge(amount), amount })
  })

  // The layers of React Router and Next.js, which read the key of a form's field.
  const raw = express.raw({ type: () => true })
  const route = idempotentRoute(idem, { principal, required: true }, async ({ request }) => {
    const form = await request.formData()
    await charge(Number(form.get('amount')))
    return Response.redirect(new URL('/thanks', request.url), 303)
  })
  app.post('/form', raw, async (request, response) => {
    const answer = await route({ request: requestOf(request) }).catch((thrown: unknown) => thrown as Response)
    response.status(answer.status).set(Object.fromEntries(answer.headers))
    response.send(Buffer.from(await answer.arrayBuffer()))
  })
  const action = idempotentAction(idem, { operation: 'comment', principal, required: true }, payByForm)
  async function payByForm(form: FormData): Promise<{ id: number } | { failed: string }> {
    const amount = Number(form.get('amount'))
    return amount === 13 ? { failed: 'declined' } : { id: await charge(amount) }
  }
  app.post('/action', raw, async (request, response) => {
    const ended = await action(await requestOf(request).formData()).catch((thrown: unknown) => ({
      failed: String((thrown as { code?: unknown }).code ?? thrown),
    }))
    response.json(ended)
  })
  return app
}

function rendered(initialKey?: string): string {
  const form = createElement(PlainForm, initialKey === undefined ? {} : { initialKey })
  return renderToString(createElement(StrictMode, null, form))
}

function requestOf({ method, originalUrl, headers, body }: express.Request): Request {
  return new Request(`http://${headers.host}${originalUrl}`, {
    method,
    headers: { 'content-type': headers['content-type'] ?? '' },
    body: body as Buffer<ArrayBuffer>,
  })
}
