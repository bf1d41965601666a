/** What `@nestjs/swagger` says of protected handlers, on any version of it. */
import type { OpenAPIObject } from '@nestjs/swagger'
import { describe, expect, test } from 'vitest'
import { Idempotent } from '../../../src/http/nest.ts'
import { decorated } from './decorated.ts'
import type { Nest } from './packages.ts'
import { type Controller, idempotencyModule, type NestUnderTest, startNest } from './serving.ts'

interface Described {
  readonly parameters?: readonly { readonly name: string }[]
  readonly responses: Readonly<Record<string, { description: string; headers?: object; content?: object }>>
  readonly 'x-idempotency'?: unknown
}

/** A controller whose handlers say something of themselves, or nothing. */
function chargesOf({ common, swagger }: Nest, ...onClass: ClassDecorator[]): Controller {
  class Charge {}
  decorated(Charge, [])
  swagger.ApiProperty({ type: Number })(Charge.prototype, 'amount')
  class Charges {
    create(): void {}
    told(): void {}
    compiled(): void {}
    read(): void {}
    open(): void {}

    /** As swagger's plugin for the compiler writes it. */
    static _OPENAPI_METADATA_FACTORY(): object {
      return { compiled: { status: 201, type: Charge } }
    }
  }
  const { ApiConflictResponse, ApiCreatedResponse, ApiExtension, ApiHeader } = swagger
  return decorated(Charges, [common.Controller('charges'), ...onClass], {
    create: { method: [common.Post()] },
    told: {
      method: [
        common.Post('told'),
        Idempotent({ required: true, retention: '7d', scope: 'endpoint', methods: ['POST', 'PUT'] }),
        ApiCreatedResponse({ type: Charge, description: 'Made.' }),
        ApiConflictResponse({ description: 'Sold out.' }),
        ApiHeader({ name: 'X-Trace' }),
        ApiExtension('x-team', 'payments'),
      ],
    },
    compiled: { method: [common.Post('compiled'), common.Header('X-App', '1')] },
    read: { method: [common.Get()] },
    open: { method: [common.Post('open'), Idempotent(false)] },
  })
}

async function documentOf(under: NestUnderTest, nest: Nest): Promise<OpenAPIObject> {
  const { app } = await startNest(under, nest, {
    controllers: [chargesOf(nest, Idempotent())],
    imports: [idempotencyModule({ retention: '12h' })],
  })
  const { DocumentBuilder, SwaggerModule } = nest.swagger
  return SwaggerModule.createDocument(app, new DocumentBuilder().setTitle('Charges').build())
}

export function nestDocument(under: NestUnderTest): void {
  describe(`${under.name}, its OpenAPI document`, () => {
    const operationsOf = async (): Promise<(path: string, method?: string) => Described> => {
      const { paths } = await documentOf(under, await under.load())
      return (path, method = 'post') =>
        (paths[path] as unknown as Record<string, Described>)[method] as Described
    }

    test('a protected handler takes the key, and answers with refusals and replays', async () => {
      const operation = (await operationsOf())('/charges')
      expect(operation.parameters).toMatchObject([
        {
          name: 'Idempotency-Key',
          in: 'header',
          required: false,
          schema: { type: 'string', maxLength: 255 },
        },
      ])
      expect(Object.keys(operation.responses)).toEqual(['201', '400', '409', '413', '422', '503'])
      for (const status of ['400', '409', '422', '503']) {
        expect(operation.responses[status]?.content).toHaveProperty(['application/problem+json', 'schema'])
      }
      expect(operation.responses['409']?.headers).toHaveProperty('Retry-After')
      expect(operation.responses['201']?.headers).toHaveProperty('Idempotent-Replayed')
      expect(operation['x-idempotency']).toMatchObject({
        required: false,
        retention: 'PT12H',
        scope: 'principal',
      })
    })

    test('what the author wrote stays', async () => {
      const operation = (await operationsOf())('/charges/told')
      expect(operation.parameters?.map(({ name }) => name).toSorted()).toEqual(['Idempotency-Key', 'X-Trace'])
      expect(operation.responses['201']).toMatchObject({
        description: 'Made.',
        content: { 'application/json': { schema: { $ref: '#/components/schemas/Charge' } } },
      })
      expect(operation.responses['409']?.description).toMatch(/^Sold out\.\n\n/)
      expect(operation).toMatchObject({ 'x-team': 'payments' })
      expect(operation['x-idempotency']).toMatchObject({
        required: true,
        retention: 'PT168H',
        scope: 'endpoint',
      })
    })

    test("what swagger's plugin has found out stays", async () => {
      const { responses } = (await operationsOf())('/charges/compiled')
      expect(responses['201']).toMatchObject({
        content: { 'application/json': { schema: { $ref: '#/components/schemas/Charge' } } },
        headers: { 'Idempotent-Replayed': {} },
      })
    })

    test('handlers that are not protected say nothing of keys', async () => {
      const operation = await operationsOf()
      for (const open of [operation('/charges', 'get'), operation('/charges/open')]) {
        expect(open.parameters).toEqual([])
        expect(Object.keys(open.responses)).toHaveLength(1)
        expect(open).not.toHaveProperty('x-idempotency')
      }
    })

    test('a second application with other options documents its own', async () => {
      const nest = await under.load()
      const controller = chargesOf(nest, Idempotent())
      const { DocumentBuilder, SwaggerModule } = nest.swagger
      for (const retention of ['1h', '2h'] as const) {
        const { app } = await startNest(under, nest, {
          controllers: [controller],
          imports: [idempotencyModule({ retention })],
        })
        const { paths } = SwaggerModule.createDocument(app, new DocumentBuilder().build())
        const operation = paths['/charges']?.post as unknown as Described
        expect(operation['x-idempotency']).toMatchObject({
          retention: `PT${Number.parseInt(retention, 10)}H`,
        })
        expect(operation.parameters).toHaveLength(1)
      }
    })
  })
}
