/** Applications of Nest on loopback, for one test each. */
import type { INestApplication } from '@nestjs/common'
import { FastifyAdapter } from '@nestjs/platform-fastify'
import { onTestFinished } from 'vitest'
import { IdempotencyModule, type IdempotencyModuleOptions } from '../../../src/http/nest.ts'
import { instance } from '../serving.ts'
import { decorated } from './decorated.ts'
import type { Nest } from './packages.ts'

/** One Nest on one platform. */
export interface NestUnderTest {
  readonly name: string
  readonly platform: 'express' | 'fastify'
  load(): Promise<Nest>
}

export type Controller = new (...args: never[]) => object

export interface AppParts {
  readonly controllers: readonly Controller[]
  readonly providers?: readonly object[]
  readonly imports?: readonly object[]
  /** Before the application listens. */
  prepare?(app: INestApplication): void
}

/** An application that serves. */
export interface NestApp {
  readonly app: INestApplication
  readonly origin: string
  /** What Nest logged as an error or a warning. */
  readonly complaints: readonly string[]
}

/** The module with an instance of its own, all callers in one scope. */
export function idempotencyModule(options: Partial<IdempotencyModuleOptions> = {}): object {
  const all = { idem: instance(), principal: 'anonymous', ...options }
  return IdempotencyModule.forRoot(all as IdempotencyModuleOptions)
}

/** Starts an application and closes it with the test. */
export async function startNest(
  { platform }: NestUnderTest,
  nest: Nest,
  { controllers, providers = [], imports = [idempotencyModule()], prepare }: AppParts,
): Promise<NestApp> {
  const complaints: string[] = []
  const complain = (message: unknown, ...more: unknown[]): void => {
    complaints.push([message, ...more].map(String).join(' '))
  }
  const quiet = (): void => {}
  const logger = {
    log: quiet,
    debug: quiet,
    verbose: quiet,
    warn: complain,
    error: complain,
    fatal: complain,
  }
  const { NestFactory } = nest.core
  const module = decorated(class App {}, [
    nest.common.Module({
      imports: [...imports] as never[],
      controllers: [...controllers] as never[],
      providers: [...providers] as never[],
    }),
  ])
  const options = { logger, rawBody: true, abortOnError: false, forceCloseConnections: true } as const
  const app =
    platform === 'express'
      ? await NestFactory.create(module, options)
      : await NestFactory.create(
          module,
          new FastifyAdapter({ logger: { level: 'warn', stream: { write: complain } } }) as never,
          options,
        )
  onTestFinished(() => app.close())
  prepare?.(app)
  await app.listen(0, '127.0.0.1')
  const { port } = (app.getHttpServer() as { address(): { port: number } }).address()
  return { app, origin: `http://127.0.0.1:${port}`, complaints }
}

/** A controller with one handler at `POST /x`. */
export function controllerOf(
  { common }: Nest,
  handle: (...given: never[]) => unknown,
  on: {
    readonly method?: readonly MethodDecorator[]
    readonly parameters?: readonly ParameterDecorator[]
    readonly controller?: readonly ClassDecorator[]
  },
): Controller {
  class Charges {
    create(...given: never[]): unknown {
      return handle(...given)
    }
  }
  return decorated(Charges, [common.Controller(), ...(on.controller ?? [])], {
    create: { method: [...(on.method ?? []), common.Post('x')], parameters: on.parameters ?? [] },
  })
}
