/**
 * What `@fastify/swagger` says of guarded routes. Its document is completed when it is asked for, and not through
 * schemas of the routes: those would check requests and rewrite the handlers' own answers.
 */
import { documentedBy, withValueAt } from '../../openapi/document.ts'
import { isObject, type JsonObject, withoutMember } from '../../openapi/json.ts'
import { operationsOf } from '../../openapi/operations.ts'
import { describeLayer, descriptionOf, type ProtectedOperation } from '../../openapi/protected-operation.ts'
import { type ProtectedRoute, protectionByRoute } from '../../openapi/routes.ts'
import { extensionName, extensionOf } from '../../openapi/terms.ts'
import { yamlText } from '../../openapi/yaml-text.ts'

/** The part of a route's options that documents are written from. */
export interface DocumentedRoute {
  readonly method: string | readonly string[]
  readonly url?: string
  schema?: Readonly<Record<string, unknown>>
}

/** The guarded routes of one registration, and the documents that tell of them. */
export interface RouteDocumenter {
  /** Notes a guarded route. */
  add(route: DocumentedRoute, operation: ProtectedOperation): void
  /** Completes the documents of an instance, from now on; it may be called again and again. */
  attach(instance: object): void
}

type SwaggerFunction = (this: unknown, options?: { readonly yaml?: boolean }) => unknown

export function createRouteDocumenter(): RouteDocumenter {
  const routes: ProtectedRoute[] = []
  const attached = new WeakSet<SwaggerFunction>()
  return {
    add(route, operation) {
      const own = route.schema?.[extensionName]
      if (own === false) return
      const extension = { ...extensionOf(operation), ...(isObject(own) ? own : {}) }
      // An extension of a schema is copied into the operation as it is, whatever path the operation gets.
      route.schema = { ...route.schema, [extensionName]: describeLayer(extension, operation) }
      const methods = typeof route.method === 'string' ? [route.method] : route.method
      for (const method of methods) routes.push({ method, path: route.url ?? '', layer: extension })
    },
    attach(instance) {
      const owner = ownerOf(instance)
      const original = owner?.swagger
      if (owner === undefined || typeof original !== 'function' || attached.has(original)) return
      const completed = completedSwagger(original, routes)
      attached.add(completed)
      owner.swagger = completed
    },
  }
}

/** The instance that has the decorator itself; instances below inherit it. */
function ownerOf(instance: object): { swagger?: SwaggerFunction } | undefined {
  let owner: object | null = instance
  while (owner !== null && !Object.hasOwn(owner, 'swagger'))
    owner = Object.getPrototypeOf(owner) as object | null
  return owner ?? undefined
}

function completedSwagger(original: SwaggerFunction, routes: readonly ProtectedRoute[]): SwaggerFunction {
  // The plugin keeps its document, so each one is completed once.
  const known = new WeakMap<JsonObject, { readonly document: JsonObject; yaml?: string }>()
  return function swagger(options) {
    const plain = original.call(this)
    if (!isObject(plain)) return original.call(this, options)
    let entry = known.get(plain)
    if (entry === undefined) {
      entry = { document: completed(plain, routes) }
      known.set(plain, entry)
    }
    if (options?.yaml !== true) return entry.document
    if (entry.document === plain) return original.call(this, options)
    return (entry.yaml ??= yamlText(entry.document))
  }
}

function completed(plain: JsonObject, routes: readonly ProtectedRoute[]): JsonObject {
  const byRoute = protectionByRoute(plain, routes)
  let document = plain
  for (const { method, operation, at } of operationsOf(plain).operations) {
    // A route of several methods is one operation object under each of them, guarded or not.
    const protection = descriptionOf(operation[extensionName])
    if (protection === undefined || protection.methods.includes(method)) continue
    document = withValueAt(document, at, withoutMember(operation, extensionName))
  }
  return documentedBy(document, (found) => {
    const marked = descriptionOf(found.operation[extensionName])
    return marked?.methods.includes(found.method) === true ? marked : byRoute(found)
  })
}
