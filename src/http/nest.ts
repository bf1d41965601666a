/** NestJS 12 and 11, on Express or Fastify: a module, a decorator for handlers and one for a parameter. */
import { InvalidOptionError } from '../core/errors.ts'
import { createIdempotency, type Idempotency, type IdempotencyOptions } from '../engine/idempotency.ts'
import { type PolicyOptions, policyOptionNames, resolvePolicy } from '../engine/policy.ts'
import { IdempotencyInterceptor, type NestContext } from './nest/interceptor.ts'
import { injectParameter, type NestClass } from './nest/metadata.ts'
import type { NestRequest } from './nest/platform.ts'
import {
  type Declared,
  declare,
  dependOnModule,
  IdempotencyRoutes,
  type ProtectedRoutes,
  routesToken,
} from './nest/routes.ts'
import { type HttpEngine, type IdempotentOptions, resolveOptions } from './options.ts'

export type { NestRequest } from './nest/platform.ts'
export type { HttpEngine, IdempotentOptions } from './options.ts'
export type { IdempotencyContext, TransactionContext } from './context.ts'

/** Token of the instance: `@Inject(IDEMPOTENCY) idem: Idempotency`. */
export const IDEMPOTENCY: unique symbol = Symbol('Idempotency')

/** An instance of the user's, which the module does not close, or what the module makes one of. */
type InstanceChoice =
  | { readonly idem: HttpEngine; readonly store?: undefined }
  | (Omit<IdempotencyOptions, keyof PolicyOptions> & { readonly idem?: undefined })

/** Options of the module: an instance or a store, and those of every HTTP adapter as defaults for all handlers. */
export type IdempotencyModuleOptions<Request extends object = NestRequest> = IdempotentOptions<Request> &
  InstanceChoice & {
    /**
     * `decorated` (default): handlers under `@Idempotent()` are protected. `all`: every route whose method is guarded,
     * except under `@Idempotent(false)`.
     */
    readonly routes?: ProtectedRoutes
  }

/** Options that providers take part in, as Nest's own asynchronous modules have them. */
export interface IdempotencyModuleAsyncOptions<Request extends object = NestRequest> {
  // `any`: Nest's own types for these lists have it, and a narrower one would not go in.
  readonly imports?: any[]
  readonly inject?: any[]
  readonly useFactory: (
    ...given: any[]
  ) => IdempotencyModuleOptions<Request> | Promise<IdempotencyModuleOptions<Request>>
}

/** What `@Module({ imports })` takes. */
export interface IdempotencyDynamicModule {
  module: typeof IdempotencyModule
  global: true
  imports: any[]
  providers: any[]
  exports: symbol[]
}

/**
 * The module, for the root module of an application; it is global.
 *
 * @example
 * const module = IdempotencyModule.forRoot({ idem, principal: (request: Authenticated) => request.user.id })
 */
export class IdempotencyModule {
  /** @throws InvalidOptionError naming option, rule and value */
  static forRoot<Request extends object = NestRequest>(
    options: IdempotencyModuleOptions<Request>,
  ): IdempotencyDynamicModule {
    checkOptions(options)
    return dynamicModule([], { useValue: options })
  }

  /**
   * As `forRoot`, with options that need other providers. They are checked when the application starts.
   *
   * @example
   * IdempotencyModule.forRootAsync({ inject: [Pool], useFactory: (pool: Pool) => ({ store: postgresStore({ pool }), principal }) })
   */
  static forRootAsync<Request extends object = NestRequest>(
    options: IdempotencyModuleAsyncOptions<Request>,
  ): IdempotencyDynamicModule {
    const { imports = [], inject = [], useFactory } = options
    if (typeof useFactory !== 'function') {
      throw new InvalidOptionError('useFactory', 'must be a function that returns the options', useFactory)
    }
    return dynamicModule(imports, { inject, useFactory })
  }
}

const optionsToken = Symbol('IdempotencyModuleOptions')

type AnyOptions = IdempotencyModuleOptions<never>

function dynamicModule(imports: any[], options: object): IdempotencyDynamicModule {
  return {
    module: IdempotencyModule,
    global: true,
    imports,
    providers: [
      { provide: optionsToken, ...options },
      { provide: routesToken, inject: [optionsToken], useFactory: openRoutes },
      {
        provide: IDEMPOTENCY,
        inject: [routesToken],
        useFactory: (routes: IdempotencyRoutes) => routes.idem,
      },
      {
        // Nest's own token for an interceptor of all handlers, which is a text.
        provide: 'APP_INTERCEPTOR',
        inject: [routesToken],
        useFactory: (routes: IdempotencyRoutes) => new IdempotencyInterceptor(routes),
      },
    ],
    exports: [routesToken, IDEMPOTENCY],
  }
}

interface SplitOptions {
  readonly idem: HttpEngine | undefined
  readonly instance: Partial<IdempotencyOptions>
  readonly layer: IdempotentOptions<never>
  readonly routes: ProtectedRoutes
}

function splitOptions(options: AnyOptions): SplitOptions {
  if (typeof options !== 'object' || options === null) {
    throw new InvalidOptionError('options', 'must be an object with idem or store, and a principal', options)
  }
  const { idem, routes = 'decorated', ...rest } = options as AnyOptions & IdempotencyOptions
  const { store, namespace, secret, sweep, compression, encryption, ...layer } = rest
  const instance = { store, namespace, secret, sweep, compression, encryption }
  return { idem, routes, layer, instance: given(instance) }
}

function given(options: object): Partial<IdempotencyOptions> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

/** @throws InvalidOptionError */
function checkOptions(options: AnyOptions): SplitOptions {
  const split = splitOptions(options)
  const { idem, instance, layer, routes } = split
  if (routes !== 'decorated' && routes !== 'all') {
    throw new InvalidOptionError('routes', "must be 'decorated' or 'all'", routes)
  }
  if (idem === undefined) {
    if (typeof instance.store !== 'object') {
      throw new InvalidOptionError('idem', 'must come from createIdempotency, or a store be given instead')
    }
  } else {
    if (typeof idem.begin !== 'function')
      throw new InvalidOptionError('idem', 'must come from createIdempotency', idem)
    const [extra] = Object.keys(instance)
    if (extra !== undefined)
      throw new InvalidOptionError(extra, 'belongs to createIdempotency where idem is given')
  }
  if (idem === undefined) checkAlone(layer)
  else resolveOptions(idem, layer)
  return split
}

/** Checks options where there is no instance yet; only `transaction` needs one, which comes when routes are mounted. */
function checkAlone(options: IdempotentOptions<never>): void {
  resolveOptions({ policy: resolvePolicy } as HttpEngine, { ...options, transaction: false })
}

function openRoutes(options: AnyOptions): IdempotencyRoutes {
  const { idem, instance, layer, routes } = checkOptions(options)
  if (idem !== undefined)
    return new IdempotencyRoutes({ idem, defaults: layer, routes, close: async () => {} })
  const policy = Object.fromEntries(policyOptionNames.map((name) => [name, layer[name]]))
  const opened: Idempotency = createIdempotency({ ...instance, ...given(policy) } as IdempotencyOptions)
  return new IdempotencyRoutes({ idem: opened, defaults: layer, routes, close: () => opened.close() })
}

/** For a handler or a whole controller. */
export type IdempotentDecorator = (
  target: object,
  handlerName?: string | symbol,
  handler?: PropertyDescriptor,
) => void

/**
 * Protects a handler, or the handlers of a controller whose method is guarded. Options take the place of the module's;
 * those of a handler, of its controller's. `false` leaves a handler or a controller out.
 *
 * Nest refuses to start where `IdempotencyModule` is not imported.
 *
 * @throws InvalidOptionError when the class is defined, and at the start of the application where options do not fit
 * the module's, the handler's method is not guarded, or `@Sse()` stands on it
 * @example
 * class Orders { @Post() @Idempotent({ required: true }) create(@Body() order: Order) {} }
 */
export function Idempotent<Request extends object = NestRequest>(
  options: Partial<IdempotentOptions<Request>> | false = {},
): IdempotentDecorator {
  if (options !== false)
    checkAlone({ principal: 'anonymous', ...(options as Partial<IdempotentOptions<never>>) })
  return (target, handlerName, handler) => {
    if (handlerName === undefined) {
      declare(target, options as Declared)
      dependOnModule(target as NestClass)
      return
    }
    if (typeof handler?.value !== 'function') {
      throw new InvalidOptionError('Idempotent', 'must stand on a method or a class')
    }
    declare(handler.value as object, options as Declared)
    dependOnModule(target.constructor as NestClass)
  }
}

const attemptKind = 'retrysafe-attempt'

/**
 * The attempt under which the handler runs, an `IdempotencyContext`; `undefined` where the request is not protected,
 * because its key is optional and absent, or the store is down and `onStoreError` is `'run'`.
 *
 * @example
 * pay(@Body() charge: Charge, @IdempotencyAttempt() attempt: IdempotencyContext | undefined) {
 *   return this.provider.pay(charge, { idempotencyKey: attempt?.downstreamKey('pay') })
 * }
 */
export function IdempotencyAttempt(): (
  target: object,
  handlerName: string | symbol | undefined,
  index: number,
) => void {
  return (target, handlerName, index) => {
    if (handlerName === undefined) {
      throw new InvalidOptionError('IdempotencyAttempt', 'must stand on a parameter of a handler')
    }
    injectParameter(target, handlerName, index, attemptKind, (_data, context: NestContext) => {
      const request = context.switchToHttp().getRequest() as NestRequest
      return request.idempotency ?? undefined
    })
  }
}
