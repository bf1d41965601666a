/** Handlers fit the types of `@types/aws-lambda`, and get the events that they name. */
import type {
  ALBHandler,
  APIGatewayProxyEvent,
  APIGatewayProxyEventV2WithJWTAuthorizer,
  APIGatewayProxyHandler,
  APIGatewayProxyHandlerV2WithJWTAuthorizer,
  APIGatewayProxyResult,
  ALBEvent,
  Context,
  DynamoDBRecord,
  DynamoDBStreamHandler,
  EventBridgeEvent,
  EventBridgeHandler,
  KinesisStreamHandler,
  KinesisStreamRecord,
  SQSHandler,
  SQSRecord,
} from 'aws-lambda'
import { expectTypeOf, test } from 'vitest'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { idempotentApi, idempotentBatch, idempotentHandler } from '../../src/lambda/index.ts'
import { memoryStore } from '../../src/stores/memory.ts'

const idem = createIdempotency({ store: memoryStore() })

test('HTTP events', () => {
  const v2 = idempotentApi(
    idem,
    { principal: (event) => String(event.requestContext.authorizer.jwt.claims['sub']) },
    (event: APIGatewayProxyEventV2WithJWTAuthorizer) => ({ id: event.rawPath }),
  )
  expectTypeOf(v2).toExtend<APIGatewayProxyHandlerV2WithJWTAuthorizer<{ id: string }>>()
  const v1 = idempotentApi(
    idem,
    // Where the handler leaves parameters to be inferred, the event is named here too.
    {
      principal: (event: APIGatewayProxyEvent) => event.requestContext.authorizer?.['principalId'] as string,
    },
    async (_event: APIGatewayProxyEvent, context: Context, idempotency): Promise<APIGatewayProxyResult> => {
      expectTypeOf(idempotency?.fence).toEqualTypeOf<number | undefined>()
      return { statusCode: 200, body: context.awsRequestId }
    },
  )
  expectTypeOf(v1).toExtend<APIGatewayProxyHandler>()
  const alb = idempotentApi(idem, { principal: 'anonymous' }, (event: ALBEvent) => ({
    statusCode: 200,
    body: event.path,
  }))
  expectTypeOf(alb).toExtend<ALBHandler>()
  // @ts-expect-error an SQS event is none of HTTP
  idempotentApi(idem, { principal: 'anonymous' }, (_event: { Records: SQSRecord[] }) => ({ statusCode: 200 }))
})

test('other events', () => {
  type Paid = EventBridgeEvent<'Paid', { id: string }>
  const single = idempotentHandler(
    idem,
    { operation: 'paid', key: 'detail.id', principal: (event: Paid) => event.account },
    async (event: Paid, _context, run) => run.downstreamKey(event.detail.id),
  )
  expectTypeOf(single).toExtend<EventBridgeHandler<'Paid', { id: string }, string>>()
  const options = { operation: 'ship', principal: 'anonymous' } as const
  const sqs = idempotentBatch(
    idem,
    { ...options, key: (record) => record.attributes.MessageDeduplicationId },
    (record: SQSRecord) => record.body,
  )
  expectTypeOf(sqs).toExtend<SQSHandler>()
  const kinesis = idempotentBatch(idem, options, (_record: KinesisStreamRecord) => {})
  expectTypeOf(kinesis).toExtend<KinesisStreamHandler>()
  const stream = idempotentBatch(idem, options, (_record: DynamoDBRecord) => {})
  expectTypeOf(stream).toExtend<DynamoDBStreamHandler>()
})
