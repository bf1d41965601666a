/** What goes wrong between client and server: each error by its class, lost answers, and nothing secret in any of it. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { inspect } from 'node:util'
import { DynamoDB } from '@aws-sdk/client-dynamodb'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { StoreFailure } from '../../src/core/errors.ts'
import type { IdempotencyStore } from '../../src/core/store.ts'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { asStoreError, reasonAsStoreError } from '../../src/stores/dynamodb/errors.ts'
import { dynamodbMigrations, dynamodbStore } from '../../src/stores/dynamodb.ts'
import { completion, longMs, newClaim, only, takeover } from '../../src/verification/store-cases/context.ts'
import { startFaultProxy } from '../../src/verification/index.ts'
import { hasDynamodb } from '../servers.ts'
import { clientOf, credentials, sentBy, shopOfTest } from './dynamodb-shop.ts'

/** A server of the protocol that has a table and fails at everything else, as it is told. */
interface FailingServer {
  readonly endpoint: string
  readonly server: Server
  fails(name: string, status: number, fields?: Readonly<Record<string, unknown>>): void
  /** Answers by hand, or not at all. */
  answers(answer: (request: IncomingMessage, response: ServerResponse) => void): void
}

const canaries = ['CANARY', credentials.accessKeyId, credentials.secretAccessKey]

async function failingServer(): Promise<FailingServer> {
  let answer: (request: IncomingMessage, response: ServerResponse) => void = (_, response) =>
    response.end('{}')
  const send = (response: ServerResponse, status: number, body: unknown): void => {
    response.writeHead(status, { 'content-type': 'application/x-amz-json-1.0' }).end(JSON.stringify(body))
  }
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      const operation = String(request.headers['x-amz-target']).split('.')[1]
      if (operation === 'DescribeTable') {
        const KeySchema = [{ AttributeName: 'id', KeyType: 'HASH' }]
        const AttributeDefinitions = [{ AttributeName: 'id', AttributeType: 'S' }]
        send(response, 200, { Table: { TableStatus: 'ACTIVE', KeySchema, AttributeDefinitions } })
      } else if (operation === 'DescribeTimeToLive') {
        const described = { TimeToLiveStatus: 'ENABLED', AttributeName: 'expires' }
        send(response, 200, { TimeToLiveDescription: described })
      } else answer(request, response)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    server,
    fails(name, status, fields = {}): void {
      const type = `com.amazonaws.dynamodb.v20120810#${name}`
      answer = (_, response) =>
        send(response, status, { __type: type, message: 'CANARY in the words of the server', ...fields })
    },
    answers(given): void {
      answer = given
    },
  }
}

async function failureOf(
  call: Promise<unknown>,
): Promise<{ readonly failure?: StoreFailure; readonly cause?: unknown }> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(error).toMatchObject({ name: 'StoreError' })
  for (const canary of canaries)
    expect(inspect(error, { depth: null, showHidden: true })).not.toContain(canary)
  return error as { readonly failure?: StoreFailure }
}

const claimOn = (store: IdempotencyStore): Promise<unknown> =>
  only(store.claim([newClaim({ operation: 'CANARY-operation' })]))

describe('an error of the server', () => {
  const table: readonly (readonly [string, number, StoreFailure])[] = [
    ['ProvisionedThroughputExceededException', 400, 'transient'],
    ['RequestLimitExceeded', 400, 'transient'],
    ['ThrottlingException', 400, 'transient'],
    ['LimitExceededException', 400, 'transient'],
    ['TransactionConflictException', 400, 'transient'],
    ['ReplicatedWriteConflictException', 400, 'transient'],
    ['TransactionInProgressException', 400, 'lost'],
    ['IdempotentParameterMismatchException', 400, 'lost'],
    ['InternalServerError', 500, 'lost'],
    ['ServiceUnavailable', 503, 'lost'],
    ['ResourceNotFoundException', 400, 'permanent'],
    ['AccessDeniedException', 400, 'permanent'],
    ['UnrecognizedClientException', 400, 'permanent'],
    ['InvalidSignatureException', 400, 'permanent'],
    ['MissingAuthenticationTokenException', 400, 'permanent'],
    ['ExpiredTokenException', 400, 'permanent'],
    ['ItemCollectionSizeLimitExceededException', 400, 'permanent'],
    ['ValidationException', 400, 'permanent'],
    ['SerializationException', 400, 'permanent'],
    ['SomethingNewException', 400, 'unrecognised'],
    ['SomethingNewError', 500, 'unrecognised'],
  ]

  test.each(table)('%s (%i) is %s, in every verb', async (name, status, failure) => {
    const { endpoint, fails } = await failingServer()
    const store = dynamodbStore({ client: clientOf(endpoint, { maxAttempts: 1 }) })
    await store.ready()
    fails(name, status)
    const asked = newClaim()
    const seen = { token: asked.token, phase: 'unknown' } as const
    const verbs: readonly (() => Promise<unknown>)[] = [
      () => claimOn(store),
      () => only(store.supersede([takeover(seen, asked)])),
      () => only(store.settle([completion(asked, { outcome: Buffer.from('CANARY-outcome') })])),
      () => only(store.renew([{ ...asked, leaseMs: longMs }])),
      () => store.read([asked.id]),
      () => store.read([asked.id, newClaim().id]),
      () => store.sweep(1),
      () => store.list({ limit: 1 }),
    ]
    for (const verb of verbs) expect((await failureOf(verb())).failure).toBe(failure)
  })

  test('that the SDK met after a try whose end nobody knows is not taken for the whole story', async () => {
    const { endpoint, answers } = await failingServer()
    const store = dynamodbStore({ client: clientOf(endpoint, { maxAttempts: 2 }) })
    await store.ready()
    let tries = 0
    answers((request, response) => {
      tries += 1
      if (tries === 1) request.socket.destroy()
      else response.writeHead(400).end(JSON.stringify({ __type: 'x#ThrottlingException' }))
    })
    expect((await failureOf(claimOn(store))).failure).toBe('lost')
    expect(tries).toBe(2)
  })

  test('says which right is missing, and whom to ask', async () => {
    const { endpoint, fails } = await failingServer()
    const client = clientOf(endpoint, { maxAttempts: 1 })
    const store = dynamodbStore({ client })
    await store.ready()
    const message =
      'User: arn:aws:iam::1:user/CANARY is not authorized to perform: dynamodb:PutItem on CANARY'
    fails('AccessDeniedException', 400, { message })
    const { cause } = await failureOf(claimOn(store))
    expect((cause as Error).message).toContain('dynamodb:PutItem')
  })

  test('that a table is missing names the command', async () => {
    const { endpoint, fails } = await failingServer()
    const store = dynamodbStore({ client: clientOf(endpoint, { maxAttempts: 1 }) })
    await store.ready()
    fails('ResourceNotFoundException', 400)
    expect(String(await claimOn(store).catch(String))).toContain('npx retrysafe migrate')
  })

  test('that is about credentials is told at the start', async () => {
    const endpoint = 'http://127.0.0.1:1'
    const failing = clientOf(endpoint, {
      credentials: async () => {
        throw Object.assign(new Error('CANARY: no profile'), { name: 'CredentialsProviderError' })
      },
    })
    expect((await failureOf(dynamodbStore({ client: failing }).ready())).failure).toBe('permanent')
  })

  test.each([
    ['no region', {}, /no region/],
    ['an endpoint that is none', { region: 'eu-central-1', endpoint: 'CANARY' }, /endpoint/],
  ])('that comes from %s is told at the start', async (_, config, says) => {
    for (const name of ['AWS_REGION', 'AWS_DEFAULT_REGION', 'AWS_PROFILE']) vi.stubEnv(name, undefined)
    vi.stubEnv('AWS_CONFIG_FILE', '/nowhere')
    onTestFinished(() => void vi.unstubAllEnvs())
    const error = await failureOf(dynamodbStore({ client: new DynamoDB({ credentials, ...config }) }).ready())
    expect(error.failure).toBe('permanent')
    expect(String(error)).toMatch(says)
  })

  test('that denies to look at the table names the rights', async () => {
    const server = createServer((request, response) => {
      request.resume()
      response.writeHead(400).end(JSON.stringify({ __type: 'x#AccessDeniedException', message: 'CANARY' }))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void server.close())
    const client = clientOf(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    for (const call of [dynamodbStore({ client }).ready(), dynamodbMigrations({ client }).apply()]) {
      const error = await call.catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({ code: 'schema-mismatch' })
      expect(String(error)).toMatch(/Allow dynamodb:DescribeTable, .*dynamodb:CreateTable/)
      expect(inspect(error, { depth: null })).not.toContain('CANARY')
    }
  })
})

describe('a connection', () => {
  test('that cannot be made means that nothing was sent', async () => {
    const { endpoint, server } = await failingServer()
    const requestHandler = { httpAgent: { keepAlive: false } }
    const store = dynamodbStore({ client: clientOf(endpoint, { maxAttempts: 1, requestHandler }) })
    await store.ready()
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    expect((await failureOf(claimOn(store))).failure).toBe('transient')
  })

  test('that ends before the answer, or brings none in time, leaves the verb unknown', async () => {
    const { endpoint, answers } = await failingServer()
    const requestHandler = { requestTimeout: 100, throwOnRequestTimeout: true }
    const store = dynamodbStore({ client: clientOf(endpoint, { maxAttempts: 1, requestHandler }) })
    await store.ready()
    answers((request) => request.socket.destroy())
    expect((await failureOf(claimOn(store))).failure).toBe('lost')
    answers(() => undefined)
    expect((await failureOf(claimOn(store))).failure).toBe('lost')
  })

  test.each([
    ['ENOTFOUND', 'transient'],
    ['EAI_AGAIN', 'transient'],
    ['EHOSTUNREACH', 'transient'],
    ['ECONNRESET', 'lost'],
    ['EPIPE', 'lost'],
    ['ETIMEDOUT', 'lost'],
  ] as const)('with %s is %s', (code, failure) => {
    const error = Object.assign(new Error(`CANARY ${code}`), { code })
    const made = asStoreError(error)
    expect(made).toMatchObject({ failure })
    expect(inspect(made, { depth: null })).not.toContain('CANARY')
    const tried = Object.assign(error, { $metadata: { attempts: 3 } })
    expect(asStoreError(tried)).toMatchObject({ failure: 'lost' })
  })

  test('bounds every request: the SDK alone would wait for ever', async () => {
    const { endpoint } = await failingServer()
    const client = clientOf(endpoint)
    const signals: unknown[] = []
    const { send } = client
    client.send = (async (command: never, options: { abortSignal?: AbortSignal }) => {
      signals.push(options?.abortSignal)
      return await (send as (command: never, options: unknown) => Promise<unknown>).call(
        client,
        command,
        options,
      )
    }) as never
    const store = dynamodbStore({ client })
    await store.claim([newClaim()])
    await store.read([newClaim().id])
    expect(signals.length).toBeGreaterThanOrEqual(4)
    expect(signals.every((signal) => signal instanceof AbortSignal)).toBe(true)
  })
})

test('a reason of a cancelled transaction has the class of its error', () => {
  expect(reasonAsStoreError('TransactionConflict').failure).toBe('transient')
  expect(reasonAsStoreError('ThrottlingError').failure).toBe('transient')
  expect(reasonAsStoreError('ProvisionedThroughputExceeded').failure).toBe('transient')
  expect(reasonAsStoreError('ItemCollectionSizeLimitExceeded').failure).toBe('permanent')
  expect(reasonAsStoreError('ValidationError').failure).toBe('permanent')
  for (const other of ['DuplicateItem', 'constructor', '']) {
    expect(reasonAsStoreError(other).failure).toBe('unrecognised')
  }
})

describe.skipIf(!hasDynamodb)('an answer that is lost, and that the SDK asks for again,', () => {
  async function throughProxy() {
    const shop = await shopOfTest()
    const proxy = await startFaultProxy({ target: { port: Number(new URL(shop.endpoint).port) } })
    onTestFinished(() => proxy.close())
    const client = clientOf(`http://127.0.0.1:${proxy.port}`)
    const store = shop.another({ client })
    await store.ready()
    const cut = (operation: string): void => proxy.cutOn(`DynamoDB_20120810.${operation}`, 'after')
    return { shop, proxy, client, store, cut }
  }

  test('shows the claimer its own record', async () => {
    const { store, client, cut, proxy } = await throughProxy()
    const sent = sentBy(client)
    cut('PutItem')
    const asked = newClaim()
    expect((await store.claim([asked])).replies[0]).toMatchObject({
      kind: 'found',
      record: { phase: 'running', token: asked.token, fence: 1 },
    })
    expect(sent).toEqual(['PutItem', 'PutItem'])
    cut('UpdateItem')
    expect((await store.settle([completion(asked)])).replies[0]).toMatchObject({
      kind: 'refused',
      record: { phase: 'completed', token: asked.token },
    })
    cut('UpdateItem')
    const taker = newClaim({ id: asked.id })
    const seen = { token: asked.token, phase: 'completed' } as const
    expect((await store.supersede([takeover(seen, taker)])).replies[0]).toMatchObject({
      kind: 'refused',
      record: { phase: 'running', token: taker.token, fence: 2 },
    })
    cut('UpdateItem')
    expect((await store.renew([{ ...taker, leaseMs: longMs }])).replies).toEqual([{ kind: 'renewed' }])
    expect(proxy.counts.cutAfter).toBe(4)
  })

  test('does not make an operation run twice, or its caller see anything of it', async () => {
    const { store, cut, proxy } = await throughProxy()
    const idem = createIdempotency({ store })
    let runs = 0
    const charge = idem.operation('charge', async () => ++runs)
    const call = { key: 'k', principal: 'alice', input: null }
    cut('PutItem')
    cut('UpdateItem')
    expect(await charge.run(call)).toEqual({ value: 1, replayed: false })
    expect(await charge.run(call)).toEqual({ value: 1, replayed: true })
    expect([runs, proxy.counts.cutAfter]).toEqual([1, 2])
  })
})
