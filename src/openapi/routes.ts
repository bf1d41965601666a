/** From the routes of an application to the operations of its document. */
import { documentedBy } from './document.ts'
import { isObject, type JsonObject, listAt } from './json.ts'
import type { FoundOperation } from './operations.ts'
import { descriptionOf, type ProtectedOperation } from './protected-operation.ts'

/** A route with the layer in front of it. */
export interface ProtectedRoute {
  /** In upper case, or `ALL` for each method that the layer guards. */
  readonly method: string
  /** As the framework writes it, such as `/charges/:id`, or as the document does, such as `/charges/{id}`. */
  readonly path: string
  /** What `idempotent(..)` returned. */
  readonly layer: object
}

/**
 * The document, with every operation documented that has a layer in front of it: header parameter, refusals,
 * replay marker and `x-idempotency`, the common parts as components. Operations are found by method and path; the
 * base path of `servers` or `basePath` may be left out of the document's paths. What the author wrote stays, as with
 * `documentOperation`. OpenAPI 3.0, 3.1, 3.2 and Swagger 2.0; anything else is returned as it is.
 *
 * @param document it is not changed
 * @param routes from `protectedRoutes(app)` of Hono, or written out
 * @example
 * documentIdempotency(document, [{ method: 'POST', path: '/charges', layer }])
 */
export function documentIdempotency<Document extends object>(
  document: Document,
  routes: Iterable<ProtectedRoute>,
): Document {
  const find = protectionByRoute(document as unknown as JsonObject, routes)
  return documentedBy(document as unknown as JsonObject, find) as unknown as Document
}

/** Finds the protection of a document's operation by its method and path. */
export function protectionByRoute(
  document: JsonObject,
  routes: Iterable<ProtectedRoute>,
): (found: Pick<FoundOperation, 'method' | 'path'>) => ProtectedOperation | undefined {
  const bases = ['', ...basePaths(document)]
  const byRoute = new Map<string, ProtectedOperation>()
  for (const { method, path, layer } of routes) {
    const protection = descriptionOf(layer)
    if (protection === undefined) continue
    const methods = method === 'ALL' ? protection.methods : protection.methods.filter((one) => one === method)
    for (const guarded of methods) {
      for (const shape of shapesOf(path)) {
        const route = `${guarded} ${shape}`
        // Where one layer stands before another, the first one decides.
        if (!byRoute.has(route)) byRoute.set(route, protection)
      }
    }
  }
  return ({ method, path }) => {
    for (const base of bases) {
      for (const shape of shapesOf(`${base}${path}`)) {
        const protection = byRoute.get(`${method} ${shape}`)
        if (protection !== undefined) return protection
      }
    }
    return undefined
  }
}

/** `:name`, with a pattern in braces or parentheses, as frameworks write parameters; `{name}`, as documents do. */
const parameter = /:\w+(?:\{(?:[^{}]|\{[^{}]*\})*\}|\((?:[^()]|\([^()]*\))*\))?(\?)?|\{[^{}]*\}|\*/g

/** A path without the names of its parameters. An optional last parameter makes two paths of it. */
export function shapesOf(path: string): string[] {
  let isOptional = false
  const shape = path.replaceAll('::', '\0').replaceAll(parameter, (_, optional?: string) => {
    isOptional = optional !== undefined
    return '{}'
  })
  const full = trimmed(shape.replaceAll('\0', ':'))
  return isOptional && full.endsWith('/{}') ? [full, trimmed(full.slice(0, -3))] : [full]
}

function trimmed(path: string): string {
  const single = path.replaceAll(/\/{2,}/g, '/')
  return single.length > 1 && single.endsWith('/') ? single.slice(0, -1) : single
}

/** Paths below which the document's own paths stand. */
function basePaths(document: JsonObject): string[] {
  const { basePath } = document
  if (typeof basePath === 'string' && basePath !== '/') return [basePath]
  return listAt(document, 'servers').flatMap((server) => {
    const url = isObject(server) && typeof server['url'] === 'string' ? server['url'] : '/'
    // A server's URL may be relative to where the document is served.
    if (!URL.canParse(url, 'http://localhost')) return []
    const { pathname } = new URL(url, 'http://localhost')
    return pathname === '/' ? [] : [trimmed(pathname)]
  })
}
