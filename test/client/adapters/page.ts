/** The adapters in a browser: what a test calls there. */
import axiosLibrary from 'axios'
import ky from 'ky'
import createClient from 'openapi-fetch'
import { callOf, idempotentAdapter } from '../../../src/client/axios.ts'
import { callOf as callOfFetch, createIdempotentFetch } from '../../../src/client/index.ts'
import { isClientError } from '../../../src/client/errors.ts'
import { idempotentKy } from '../../../src/client/ky.ts'
import { idempotentOpenapiFetch } from '../../../src/client/openapi-fetch.ts'

export interface PageCall {
  readonly status?: number
  readonly attempts?: number | undefined
  /** Code of the client's error. */
  readonly code?: string
  readonly reason?: string
}

const quick = { backoff: 1, backoffMax: 2, timeout: 5_000 } as const

type Call = (path: string, body: object) => Promise<PageCall>

function axios(own: { readonly adapter?: string; readonly methods?: readonly string[] } = {}): Call {
  const options = { ...quick, ...own }
  const api = axiosLibrary.create({ adapter: idempotentAdapter(axiosLibrary, options) })
  return async (path, body) => {
    const response = await api.post(path, body)
    return { status: response.status, attempts: callOf(response)?.attempts }
  }
}

function kyCall(own: { readonly methods?: readonly string[] } = {}): Call {
  const api = ky.extend({ ...idempotentKy({ ...quick, ...own }), throwHttpErrors: false })
  return async (path, body) => {
    const response = await api.post(path, body instanceof FormData ? { body } : { json: body })
    return { status: response.status, attempts: callOfFetch(response)?.attempts }
  }
}

const calls: Readonly<Record<string, Call>> = {
  axios: axios(),
  'axios (xhr)': axios({ adapter: 'xhr' }),
  'axios (no key)': axios({ methods: [] }),
  ky: kyCall(),
  'ky (no key)': kyCall({ methods: [] }),
  async 'fetch (a Request)'(path, body) {
    const init = { method: 'POST', body: JSON.stringify(body), referrerPolicy: 'no-referrer' } as const
    const response = await createIdempotentFetch(quick)(new Request(path, init))
    return { status: response.status, attempts: callOfFetch(response)?.attempts }
  },
  async 'openapi-fetch'(path, body) {
    const client = createClient<Record<string, Record<string, never>>>({
      baseUrl: globalThis.location.origin,
      fetch: idempotentOpenapiFetch(quick),
    })
    const { response } = await client.request('post' as never, path as never, { body } as never)
    return { status: response.status, attempts: callOfFetch(response)?.attempts }
  },
}

/** Calls through a library; a form where `fields` says so. */
async function call(library: string, path: string, isForm: boolean): Promise<PageCall> {
  const form = new FormData()
  form.append('amount', '100')
  try {
    return await (calls[library] as Call)(path, isForm ? form : { amount: 100 })
  } catch (error) {
    if (isClientError(error)) return { code: error.code, reason: error.reason }
    throw error
  }
}

Object.assign(globalThis, { call })
