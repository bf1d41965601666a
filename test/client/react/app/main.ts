/** The page of each address, in StrictMode. */
import { createElement as h, type ReactElement, StrictMode } from 'react'
import { createRoot, hydrateRoot } from 'react-dom/client'
import { ActionForm, GivenKeyPage, KeyPage, KeysPage, PlainForm, RowsPage } from './forms.ts'
import { page, parameter } from './page.ts'
import { PayPage } from './pay.ts'
import { QueryPage } from './query.ts'

function pageOf(path: string): ReactElement {
  const keep = parameter('keep')
  const keepAfterDone = keep === null ? {} : { keepAfterDone: Number(keep) }
  switch (path) {
    case '/pay':
      return h(PayPage, {
        cart: parameter('cart') ?? 'cart-1',
        givesUp: parameter('gives-up') !== null,
        isTwice: parameter('twice') !== null,
        ...keepAfterDone,
      })
    case '/plain-form':
    case '/rendered':
      return h(PlainForm)
    case '/rendered-with-key':
      return h(PlainForm, { initialKey: parameter('key') as string })
    case '/action-form':
      return h(ActionForm)
    case '/key':
      return h(KeyPage, keepAfterDone)
    case '/keys':
      return h(KeysPage)
    case '/rows':
      return h(RowsPage, { storage: parameter('storage') as 'session' | 'memory' })
    case '/given-key':
      return h(GivenKeyPage)
    case '/query':
      return h(QueryPage)
    default:
      return h('h1', { id: 'elsewhere' }, 'Elsewhere')
  }
}

const root = page.document.getElementById('root') as Element
const content = h(StrictMode, null, pageOf(page.location.pathname))
if (page.location.pathname.startsWith('/rendered')) hydrateRoot(root, content)
else createRoot(root).render(content)
