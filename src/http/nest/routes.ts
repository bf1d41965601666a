/** Which handlers of an application are protected, and how: found once for each, from decorators and the module. */
import { InvalidOptionError } from '../../core/errors.ts'
import { type Mounted, mount } from '../mount.ts'
import type { HttpEngine, IdempotentOptions } from '../options.ts'
import {
  isEventStream,
  injectProperty,
  methodOf,
  methodsOf,
  type NestClass,
  type NestHandler,
  readMetadata,
  writeMetadata,
} from './metadata.ts'
import { documentHandler } from './swagger.ts'

/** What `@Idempotent()` says: options that differ from the module's, or `false` for no protection. */
export type Declared = Partial<IdempotentOptions<never>> | false

/** A protected handler, ready to run. */
export type NestRoute = Mounted<never>

/** Which handlers are protected: those that `@Idempotent()` marks, or all that it does not leave out. */
export type ProtectedRoutes = 'decorated' | 'all'

/** Token of the provider that holds the routes of an application. */
export const routesToken: unique symbol = Symbol('IdempotencyModule')

const declaredName = 'retrysafe:idempotent'

/** Marks a handler or a controller. */
export function declare(target: object, declared: Declared): void {
  writeMetadata(declaredName, declared, target)
}

function declaredOn(target: object): Declared | undefined {
  return readMetadata(declaredName, target) as Declared | undefined
}

const routesOf = Symbol('retrysafe.routes')

/**
 * Makes a controller depend on the module, as a property with `@Inject()` would. Nest then refuses to start without the
 * module, where the decorator would promise what nobody keeps, and the options of each handler are checked at the start.
 */
export function dependOnModule(controller: NestClass): void {
  injectProperty(controller, routesOf, routesToken)
  Object.defineProperty(controller.prototype, routesOf, {
    configurable: true,
    set(this: object, routes: IdempotencyRoutes) {
      routes.protect(this.constructor as NestClass)
    },
  })
}

export interface RoutesOptions {
  readonly idem: HttpEngine
  readonly defaults: IdempotentOptions<never>
  readonly routes: ProtectedRoutes
  /** Ends what the module has opened. */
  readonly close: () => Promise<void>
}

/** The routes of one application. */
export class IdempotencyRoutes {
  readonly idem: HttpEngine
  readonly #options: RoutesOptions
  readonly #found = new WeakMap<NestClass, Map<NestHandler, NestRoute | undefined>>()

  constructor(options: RoutesOptions) {
    this.idem = options.idem
    this.#options = options
  }

  /**
   * Checks the options of a controller's handlers and documents them.
   *
   * @throws InvalidOptionError naming the handler
   */
  protect(controller: NestClass): void {
    if (this.#found.has(controller)) return
    for (const [name, handler] of methodsOf(controller)) {
      const operation = this.routeOf(controller, handler)?.operation
      if (operation !== undefined) documentHandler(controller, name, handler, operation)
    }
  }

  /** The route of a handler, `undefined` where it is not protected. */
  routeOf(controller: NestClass, handler: NestHandler): NestRoute | undefined {
    let found = this.#found.get(controller)
    if (found === undefined) this.#found.set(controller, (found = new Map()))
    const known = found.get(handler)
    if (known !== undefined || found.has(handler)) return known
    const route = this.#mount(controller, handler)
    found.set(handler, route)
    return route
  }

  /** Called by Nest once the server has ended. */
  async onApplicationShutdown(): Promise<void> {
    await this.#options.close()
  }

  #mount(controller: NestClass, handler: NestHandler): NestRoute | undefined {
    const { idem, defaults, routes } = this.#options
    const own = declaredOn(handler)
    const shared = declaredOn(controller)
    const chosen = own ?? shared ?? (routes === 'all' ? {} : false)
    if (chosen === false) return undefined
    const name = `${controller.name}.${handler.name}`
    const route = mountNamed(name, idem, { ...defaults, ...(shared === false ? {} : shared), ...chosen })
    const method = methodOf(handler)
    if (method !== 'ALL' && !route.guard.options.methods.has(method ?? '')) {
      if (own === undefined) return undefined
      if (method === undefined)
        throw new InvalidOptionError('Idempotent', `must stand on the handler of a route, not on ${name}`)
      throw new InvalidOptionError('methods', `must include ${method}, the method of ${name}`)
    }
    if (isEventStream(handler)) {
      // Nest sends the head of an event stream without waiting for interceptors: no decision can come before it.
      throw new InvalidOptionError(
        'Idempotent',
        `must be false on ${name}: an event stream of @Sse() cannot be protected; answer it with @Res()`,
      )
    }
    return route
  }
}

function mountNamed(name: string, idem: HttpEngine, options: IdempotentOptions<never>): NestRoute {
  try {
    return mount(idem, options)
  } catch (error) {
    if (!(error instanceof InvalidOptionError)) throw error
    throw new InvalidOptionError(error.option, `${error.rule} (on ${name})`)
  }
}
