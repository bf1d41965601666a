/**
 * What Nest reads from classes and methods, and what is kept there for this layer. Nest's decorators are functions over
 * `Reflect.defineMetadata`, which `reflect-metadata` adds to the process; nothing of Nest is imported.
 */

/** A class, such as a controller. */
export type NestClass = abstract new (...args: never[]) => object
/** A method of a controller: the function itself. */
export type NestHandler = (...args: never[]) => unknown

interface Metadata {
  defineMetadata(name: string, value: unknown, target: object, key?: string | symbol): void
  getMetadata(name: string, target: object, key?: string | symbol): unknown
}

function metadata(): Metadata {
  const { defineMetadata, getMetadata } = Reflect as Partial<Metadata>
  if (defineMetadata === undefined || getMetadata === undefined) {
    throw new TypeError(
      "Nest's decorators need reflect-metadata: import it before the first decorated class.",
    )
  }
  return { defineMetadata, getMetadata }
}

export function readMetadata(name: string, target: object, key?: string | symbol): unknown {
  const { getMetadata } = metadata()
  return key === undefined ? getMetadata(name, target) : getMetadata(name, target, key)
}

export function writeMetadata(name: string, value: unknown, target: object, key?: string | symbol): void {
  const { defineMetadata } = metadata()
  if (key === undefined) defineMetadata(name, value, target)
  else defineMetadata(name, value, target, key)
}

/** Nest's numbers of methods, as `@Post()` and others write them. */
const methodNames: readonly string[] = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'ALL', 'OPTIONS', 'HEAD']

/** The method of a route, `undefined` where the handler is no route. `ALL` is every method. */
export function methodOf(handler: NestHandler): string | undefined {
  const method = readMetadata('method', handler)
  return typeof method === 'number' ? (methodNames[method] ?? 'OTHER') : undefined
}

/** Whether `@Sse()` stands on the handler. */
export function isEventStream(handler: NestHandler): boolean {
  return readMetadata('__sse__', handler) === true
}

/** Names of the fields that `@Header()` sets, which Nest does before interceptors run. */
export function fieldsOf(handler: NestHandler): readonly string[] {
  const fields = readMetadata('__headers__', handler) as readonly { readonly name: string }[] | undefined
  return fields?.map(({ name }) => name) ?? []
}

/** The status of an answer that the handler returns: `@HttpCode()`, or Nest's own choice. */
export function statusOf(handler: NestHandler): number {
  const status = readMetadata('__httpCode__', handler)
  if (typeof status === 'number') return status
  return methodOf(handler) === 'POST' ? 201 : 200
}

/** The own and inherited methods of a class, each once. */
export function* methodsOf(controller: NestClass): Generator<readonly [name: string, handler: NestHandler]> {
  const seen = new Set<string>()
  let at = controller.prototype as object | null
  while (at !== null && at !== Object.prototype) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(at))) {
      if (name === 'constructor' || typeof value !== 'function' || seen.has(name)) continue
      seen.add(name)
      yield [name, value as NestHandler]
    }
    at = Object.getPrototypeOf(at) as object | null
  }
}

interface PropertyDependency {
  readonly key: string | symbol
  readonly type: unknown
}

/** Declares that Nest gives each instance of a class a provider, as `@Inject(token)` on a property does. */
export function injectProperty(target: NestClass, key: symbol, token: symbol): void {
  const name = 'self:properties_metadata'
  const known = (readMetadata(name, target) ?? []) as readonly PropertyDependency[]
  if (known.some((dependency) => dependency.key === key)) return
  writeMetadata(name, [...known, { key, type: token }], target)
}

/** Declares a parameter of a handler, as `createParamDecorator` does. */
export function injectParameter(
  prototype: object,
  handlerName: string | symbol,
  index: number,
  kind: string,
  factory: (data: unknown, context: never) => unknown,
): void {
  const name = '__routeArguments__'
  const controller = prototype.constructor
  const known = (readMetadata(name, controller, handlerName) ?? {}) as object
  const entry = { index, factory, data: undefined, pipes: [] }
  const all = { ...known, [`${kind}__customRouteArgs__:${index}`]: entry }
  writeMetadata(name, all, controller, handlerName)
}
