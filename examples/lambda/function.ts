/** The function that `server.ts` serves, as it would be deployed: `handler` is what Lambda calls. */
import type { APIGatewayProxyEventV2 } from 'aws-lambda'
import { createIdempotency } from 'retrysafe'
import { type ApiAnswer, idempotentApi, type LambdaContext } from 'retrysafe/lambda'
import { sqliteStore } from 'retrysafe/stores/sqlite'

type Result = Pick<ApiAnswer, 'statusCode' | 'headers' | 'body'>
type Handler = (event: APIGatewayProxyEventV2, context: LambdaContext) => Promise<Result>

// In Lambda: dynamodbStore({ client: new DynamoDB({}) }). A frozen function has no timer that could sweep.
const store = sqliteStore({ file: process.env['DB'] ?? './idempotency.db' })
const idem = createIdempotency({ store, sweep: false })
let charges = 0

const charge: Handler = idempotentApi(
  idem,
  { principal: (event: APIGatewayProxyEventV2) => event.headers['x-tenant'] ?? 'anonymous', required: true },
  async (event: APIGatewayProxyEventV2) => {
    charges += 1
    const { amount } = JSON.parse(event.body ?? '') as { amount: number }
    const headers = { 'Content-Type': 'application/json', Location: `/charges/${charges}` }
    return { statusCode: 201, headers, body: JSON.stringify({ id: charges, amount }) }
  },
)

export const handler: Handler = async (event, context) =>
  event.requestContext.http.method === 'GET'
    ? { statusCode: 200, headers: {}, body: JSON.stringify({ charges }) }
    : await charge(event, context)
