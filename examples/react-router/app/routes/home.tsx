import type { ReactNode } from 'react'
import { type ActionFunctionArgs, data, Form, useActionData, useLoaderData } from 'react-router'
import { idempotencyKeyField, idempotent } from 'retrysafe/http/react-router'
import { charge, idem } from '../charges.server'

// A new key for each rendering of the form.
export const loader = () => ({ keyField: idempotencyKeyField() })

export const action = idempotent(
  idem,
  {
    principal: 'anonymous',
    required: true,
    // A double click: the second page waits for what the first one paid.
    wait: '10s',
    onRefused: ({ code, response }) => data({ paid: false, code }, { status: response.status }),
  },
  async ({ request }: ActionFunctionArgs) => {
    const form = await request.formData()
    const { id } = charge(Number(form.get('amount')))
    return data({ paid: true, id }, { status: 201 })
  },
)

export default function Home(): ReactNode {
  const { keyField } = useLoaderData<typeof loader>()
  const ended = useActionData<typeof action>()
  return (
    <Form method="post">
      <input {...keyField} />
      <input name="amount" defaultValue="100" />
      <button type="submit">Pay</button>
      <output>{ended === undefined ? '' : JSON.stringify(ended)}</output>
    </Form>
  )
}
