import type { ReactNode } from 'react'
import { data, Form, isRouteErrorResponse, useActionData, useLoaderData, useRouteError } from 'react-router'
import { idempotencyKeyField, idempotent } from 'retrysafe/http/react-router'
import { end } from './ends.server'
import { idem } from './state.server'

export const loader = () => ({ keyField: idempotencyKeyField() })

export const action = idempotent(
  idem,
  {
    principal: 'anonymous',
    required: true,
    wait: '10s',
    onRefused: ({ code, response }, { request }) => {
      if (request.url.includes('throws')) throw response
      return data({ refused: code }, { status: response.status })
    },
  },
  end,
)

export const headers = ({ actionHeaders }: { actionHeaders: Headers }) => actionHeaders

export default function Page(): ReactNode {
  const { keyField } = useLoaderData<typeof loader>()
  const ended = useActionData<typeof action>()
  return (
    <Form method="post">
      <input {...keyField} />
      <output>{JSON.stringify(ended)}</output>
    </Form>
  )
}

export function ErrorBoundary(): ReactNode {
  const error = useRouteError()
  return (
    <output>{JSON.stringify(isRouteErrorResponse(error) ? [error.status, error.data] : 'failed')}</output>
  )
}
