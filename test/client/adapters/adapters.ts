/** Each adapter, called as its own users would call it. */
import axiosLibrary, { AxiosError } from 'axios'
import got, { HTTPError as GotHttpError, type OptionsInit } from 'got'
import ky, { HTTPError as KyHttpError } from 'ky'
import createClient from 'openapi-fetch'
import { Agent, fetch as undiciFetch, FormData as UndiciForm, request } from 'undici'
import * as axios from '../../../src/client/axios.ts'
import * as gotAdapter from '../../../src/client/got.ts'
import { callOf, createIdempotentFetch } from '../../../src/client/index.ts'
import * as kyAdapter from '../../../src/client/ky.ts'
import * as openapi from '../../../src/client/openapi-fetch.ts'
import * as undici from '../../../src/client/undici.ts'
import type { ClientAdapter, Sent } from './suite.ts'

const isPlain = (body: unknown): boolean =>
  typeof body === 'object' && body !== null && Object.getPrototypeOf(body) === Object.prototype

/** `fetch` and its like take objects as text. */
function encoded(
  body: unknown,
  headers: Record<string, string> = {},
): { readonly body: BodyInit | null; readonly headers: Record<string, string> } {
  if (!isPlain(body)) return { body: (body ?? null) as BodyInit, headers }
  return { body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } }
}

/** Some leave it to their callers to say what the octets are. */
function encodedFields(body: unknown, headers: Record<string, string> = {}): ReturnType<typeof encoded> {
  if (!(body instanceof URLSearchParams)) return encoded(body, headers)
  const type = { 'content-type': 'application/x-www-form-urlencoded' }
  return { body: body.toString(), headers: { ...type, ...headers } }
}

async function sentOf(response: Response, thrownAs?: string): Promise<Sent> {
  return {
    status: response.status,
    text: await response.text(),
    header: (name) => response.headers.get(name),
    report: callOf(response),
    ...(thrownAs !== undefined && { thrownAs }),
  }
}

const fetchAdapter: ClientAdapter = {
  name: 'fetch',
  differences: {
    refusedAnswer: 'the answer',
    abort: 'AbortError',
    redirects: 'within the origin',
    report: true,
    errors: 'as they are',
    callOptions: 'init.idempotency',
  },
  make(options) {
    const pay = createIdempotentFetch(options)
    return async (url, { method = 'POST', body, headers, signal, idempotency = {} } = {}) =>
      await sentOf(
        await pay(url, { method, ...encoded(body, headers), ...(signal && { signal }), idempotency }),
      )
  },
}

function axiosOver(adapter: string): ClientAdapter {
  return {
    name: `axios (${adapter})`,
    differences: {
      ...{ refusedAnswer: 'AxiosError', abort: 'CanceledError' },
      ...{
        redirects: 'within the origin',
        report: true,
        errors: 'as they are',
        callOptions: 'idempotency()',
      },
    },
    make(options) {
      const api = axiosLibrary.create({
        adapter: axios.idempotentAdapter(axiosLibrary, { ...options, adapter }),
        transformResponse: (data: unknown) => data,
      })
      return async (url, { method = 'POST', body, headers = {}, signal, idempotency } = {}) => {
        const call = {
          ...{ url, method, headers, data: body },
          ...(signal && { signal }),
          ...(idempotency !== undefined && axios.idempotency(idempotency)),
        }
        const answer = async (): Promise<Sent & { readonly error?: AxiosError }> => {
          try {
            const response = await api.request<string>(call)
            return sentOfAxios(response)
          } catch (error) {
            if (!(error instanceof AxiosError) || error.response === undefined) throw error
            return { ...sentOfAxios(error.response), thrownAs: error.name }
          }
        }
        return await answer()
      }
    },
  }
}

function sentOfAxios(response: { status: number; data: unknown; headers: unknown }): Sent {
  const headers = response.headers as { get(name: string): string | undefined }
  return {
    status: response.status,
    text: response.data as string,
    header: (name) => headers.get(name),
    report: axios.callOf(response),
  }
}

const kyOver: ClientAdapter = {
  name: 'ky',
  differences: {
    refusedAnswer: 'HTTPError',
    abort: 'AbortError',
    redirects: 'within the origin',
    report: true,
    errors: 'as they are',
    callOptions: 'idempotency()',
  },
  make(options) {
    const api = ky.extend(kyAdapter.idempotentKy(options))
    return async (url, { method = 'POST', body, headers = {}, signal, idempotency } = {}) => {
      try {
        const response = await api(url, {
          ...{ method, headers },
          ...(isPlain(body) ? { json: body } : { body: (body ?? null) as BodyInit }),
          ...(signal && { signal }),
          ...(idempotency !== undefined && kyAdapter.idempotency(idempotency)),
        })
        return await sentOf(response)
      } catch (error) {
        if (!(error instanceof KyHttpError)) throw error
        // ky has read it.
        const text = typeof error.data === 'string' ? error.data : JSON.stringify(error.data)
        return {
          ...(await sentOf(
            error.response.bodyUsed ? new Response(null, error.response) : error.response,
            error.name,
          )),
          text,
          report: callOf(error.response),
        }
      }
    }
  },
}

const gotOver: ClientAdapter = {
  name: 'got',
  differences: {
    refusedAnswer: 'HTTPError',
    abort: 'AbortError',
    redirects: 'within the origin',
    report: true,
    errors: 'as they are',
    callOptions: 'idempotency()',
  },
  make(options) {
    const api = got.extend(gotAdapter.idempotentGot(options))
    return async (url, { method = 'POST', body, headers = {}, signal, idempotency } = {}) => {
      const payload: OptionsInit = isPlain(body)
        ? { json: body }
        : body instanceof URLSearchParams
          ? { form: Object.fromEntries(body) }
          : body === undefined
            ? {}
            : { body: body as string }
      try {
        const response = await api(url, {
          ...{ method: method as 'POST', headers, ...payload },
          ...(signal && { signal }),
          ...(idempotency !== undefined && gotAdapter.idempotency(idempotency)),
        })
        return sentOfGot(response as never)
      } catch (error) {
        if (!(error instanceof GotHttpError)) throw error
        return { ...sentOfGot(error.response as never), thrownAs: error.name }
      }
    }
  },
}

function sentOfGot(response: { statusCode: number; body: unknown; headers: object }): Sent {
  return {
    status: response.statusCode,
    text: String(response.body),
    header: (name) => (response.headers as Record<string, string>)[name],
    report: gotAdapter.callOf(response),
  }
}

const undiciRequest: ClientAdapter = {
  name: 'undici (request)',
  differences: {
    refusedAnswer: 'the answer',
    abort: 'AbortError',
    redirects: 'none',
    report: true,
    errors: 'as they are',
    callOptions: 'idempotency()',
  },
  make(options) {
    const dispatcher = new Agent().compose(undici.idempotentInterceptor(options))
    return async (url, { method = 'POST', body, headers, signal, idempotency } = {}) => {
      const payload = encodedFields(body, headers)
      const response = await request(url, {
        ...{ method: method as 'POST', headers: payload.headers, body: payload.body as string | null },
        dispatcher,
        ...(signal && { signal }),
        ...(idempotency !== undefined && undici.idempotency(idempotency)),
      })
      return {
        status: response.statusCode,
        text: await response.body.text(),
        header: (name) => response.headers[name] as string | undefined,
        report: undici.callOf(response),
      }
    }
  },
}

/** undici takes forms of its own. */
function undiciForm(body: unknown): unknown {
  if (!(body instanceof FormData)) return body
  const form = new UndiciForm()
  for (const [name, value] of body) form.append(name, value as string)
  return form
}

const undiciFetching: ClientAdapter = {
  name: 'undici (fetch)',
  differences: {
    ...{ refusedAnswer: 'the answer', abort: 'AbortError', redirects: 'each with a key of its own' },
    ...{ report: false, errors: 'as the cause of a TypeError', callOptions: "the key's field" },
  },
  make(options) {
    const dispatcher = new Agent().compose(undici.idempotentInterceptor(options))
    // `fetch` hands nothing of a call on to its dispatcher but the request.
    const left = new Agent()
    return async (url, { method = 'POST', body, headers, signal, idempotency } = {}) => {
      const payload = encoded(undiciForm(body), headers)
      const key = idempotency === false ? undefined : idempotency?.key
      const response = await undiciFetch(url, {
        ...{ method, body: payload.body as string | null },
        headers: { ...payload.headers, ...(key !== undefined && { 'idempotency-key': `"${key}"` }) },
        dispatcher: idempotency === false ? left : dispatcher,
        ...(signal && { signal }),
      })
      return await sentOf(response as unknown as Response)
    }
  },
}

const openapiOver: ClientAdapter = {
  name: 'openapi-fetch',
  differences: {
    refusedAnswer: 'the answer',
    abort: 'AbortError',
    redirects: 'within the origin',
    report: true,
    errors: 'as they are',
    callOptions: 'idempotency()',
  },
  make(options) {
    const fetch = openapi.idempotentOpenapiFetch(options)
    return async (url, { method = 'POST', body, headers = {}, signal, idempotency } = {}) => {
      const { origin, pathname } = new URL(url)
      const client = createClient<Record<string, Record<string, never>>>({ baseUrl: origin, fetch })
      const payload = encodedFields(body, headers)
      const { response, data, error } = await client.request(
        method.toLowerCase() as never,
        pathname as never,
        {
          ...{ parseAs: 'text', headers: payload.headers, signal },
          ...(body !== undefined && { body: payload.body, bodySerializer: (value: unknown) => value }),
          ...(idempotency !== undefined && openapi.idempotency(idempotency)),
        } as never,
      )
      return {
        status: response.status,
        text: typeof (data ?? error) === 'string' ? String(data ?? error) : JSON.stringify(data ?? error),
        header: (name) => response.headers.get(name),
        report: callOf(response),
      }
    }
  },
}

export const clientAdapters: readonly ClientAdapter[] = [
  fetchAdapter,
  axiosOver('http'),
  axiosOver('fetch'),
  kyOver,
  gotOver,
  undiciRequest,
  undiciFetching,
  openapiOver,
]
