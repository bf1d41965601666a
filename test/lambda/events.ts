/** Events as AWS documents them, with the members that a test may want to change. */
import type {
  APIGatewayProxyEvent,
  APIGatewayProxyEventV2,
  DynamoDBRecord,
  EventBridgeEvent,
  KinesisStreamRecord,
  SQSRecord,
} from 'aws-lambda'

interface Request {
  readonly key?: string
  readonly body?: string
  readonly path?: string
  readonly query?: string
  readonly method?: string
}

export function apiV2(request: Request = {}): APIGatewayProxyEventV2 {
  const { key = 'k', body = '{"amount":100}', path = '/charges', query = '', method = 'POST' } = request
  return {
    version: '2.0',
    routeKey: 'POST /charges',
    rawPath: path,
    rawQueryString: query,
    cookies: ['session=1'],
    headers: { 'content-type': 'application/json', ...(key === '' ? {} : { 'idempotency-key': key }) },
    requestContext: {
      accountId: '123456789012',
      apiId: 'api-id',
      domainName: 'id.execute-api.us-east-1.amazonaws.com',
      domainPrefix: 'id',
      http: { method, path, protocol: 'HTTP/1.1', sourceIp: '192.0.2.1', userAgent: 'agent' },
      requestId: 'JKJaXmPLvHcESHA=',
      routeKey: 'POST /charges',
      stage: '$default',
      time: '12/Mar/2020:19:03:58 +0000',
      timeEpoch: 1583348638390,
    },
    body,
    isBase64Encoded: false,
  }
}

export function apiV1(request: Request = {}): APIGatewayProxyEvent {
  const { key = 'k', body = '{"amount":100}', path = '/charges', method = 'POST' } = request
  const lists: Record<string, string[]> = {}
  for (const [name, value] of new URLSearchParams(request.query)) {
    lists[name] = [...(lists[name] ?? []), value]
  }
  return {
    resource: '/charges',
    path,
    httpMethod: method,
    headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key },
    multiValueHeaders: { 'Content-Type': ['application/json'], 'Idempotency-Key': [key] },
    queryStringParameters: null,
    multiValueQueryStringParameters: lists,
    pathParameters: null,
    stageVariables: null,
    requestContext: {
      authorizer: { claims: { sub: 'user-1' } },
    } as unknown as APIGatewayProxyEvent['requestContext'],
    body,
    isBase64Encoded: false,
  }
}

export function paymentAuthorized(
  id: string,
  detail: { paymentId: string | number; cents: number },
): EventBridgeEvent<'PaymentAuthorized', { paymentId: string | number; cents: number }> {
  return {
    version: '0',
    id,
    'detail-type': 'PaymentAuthorized',
    source: 'shop.payments',
    account: '111122223333',
    time: '2017-12-22T18:43:48Z',
    region: 'us-west-1',
    resources: [],
    detail,
  }
}

export interface Message {
  readonly id: string
  readonly body?: string
  readonly group?: string
  readonly attributes?: Record<string, string>
  /** Default: a FIFO queue where there is a group. */
  readonly fifo?: boolean
}

let received = 0

/** Each call is another delivery: what differs between two of them differs. */
export function sqsRecord(message: Message): SQSRecord {
  const { id, body = `{"orderId":"${id}"}`, group, attributes = {}, fifo = group !== undefined } = message
  received += 1
  return {
    messageId: id,
    receiptHandle: `receipt-${received}`,
    body,
    attributes: {
      ApproximateReceiveCount: String(received),
      SentTimestamp: '1545082649183',
      SenderId: 'AIDAIENQZJOLO23YVJ4VO',
      ApproximateFirstReceiveTimestamp: '1545082649185',
      ...(group === undefined ? {} : { MessageGroupId: group, SequenceNumber: '18849496460467696128' }),
    },
    messageAttributes: Object.fromEntries(
      Object.entries(attributes).map(([name, stringValue]) => [name, { stringValue, dataType: 'String' }]),
    ),
    md5OfBody: 'e4e68fb7bd0e697a0ae8f1bb342846b3',
    eventSource: 'aws:sqs',
    eventSourceARN: `arn:aws:sqs:us-east-2:123456789012:my-queue${fifo ? '.fifo' : ''}`,
    awsRegion: 'us-east-2',
  }
}

export function kinesisRecord(sequenceNumber: string, data: string): KinesisStreamRecord {
  return {
    kinesis: {
      kinesisSchemaVersion: '1.0',
      partitionKey: '1',
      sequenceNumber,
      data: Buffer.from(data).toString('base64'),
      approximateArrivalTimestamp: 1545084650.987,
    },
    eventSource: 'aws:kinesis',
    eventVersion: '1.0',
    eventID: `shardId-000000000006:${sequenceNumber}`,
    eventName: 'aws:kinesis:record',
    invokeIdentityArn: 'arn:aws:iam::123456789012:role/lambda-role',
    awsRegion: 'us-east-2',
    eventSourceARN: 'arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream',
  }
}

export function streamRecord(sequenceNumber: string, id: string): DynamoDBRecord {
  return {
    eventID: `e-${sequenceNumber}`,
    eventName: 'INSERT',
    eventVersion: '1.1',
    eventSource: 'aws:dynamodb',
    awsRegion: 'us-east-2',
    eventSourceARN: 'arn:aws:dynamodb:us-east-2:123456789012:table/orders/stream/2024-06-10T19:26:16.525',
    dynamodb: {
      Keys: { id: { S: id } },
      NewImage: { id: { S: id } },
      SequenceNumber: sequenceNumber,
      SizeBytes: 26,
      StreamViewType: 'NEW_AND_OLD_IMAGES',
    },
  }
}
