/** The routes of a Hono application that have a layer in front of them. */
import { honoHandler } from '../../doctor/mounted-routes.ts'
import { descriptionOf } from '../../openapi/protected-operation.ts'
import type { ProtectedRoute } from '../../openapi/routes.ts'

/** What of an application is used. */
export interface RoutedApp {
  readonly routes: readonly { readonly method: string; readonly path: string; readonly handler: unknown }[]
}

/**
 * The routes that `idempotent` guards, whether it is mounted on the route itself or above it with `app.use`. For
 * `documentIdempotency`; call it when all routes are there.
 *
 * @example
 * app.get('/openapi.json', async (c) =>
 *   c.json(documentIdempotency(await generateSpecs(app), protectedRoutes(app))))
 */
export function protectedRoutes(app: RoutedApp): ProtectedRoute[] {
  const routes = app.routes.map(({ method, path, handler }) => ({
    method,
    path,
    layer: honoHandler(handler),
  }))
  const ends = new Map(routes.map(({ method, path }, at) => [`${method} ${path}`, at]))
  return [...ends.values()].flatMap((end) => {
    const { method, path } = routes[end] as ProtectedRoute
    const layer = routes
      .slice(0, end + 1)
      .find(
        (one) =>
          descriptionOf(one.layer) !== undefined &&
          (one.method === 'ALL' || one.method === method) &&
          covers(one.path, path),
      )?.layer
    return layer === undefined ? [] : [{ method, path, layer }]
  })
}

/** Whether every request for a path also goes through what is mounted at a pattern. */
function covers(pattern: string, path: string): boolean {
  const names = pattern.split('/')
  const segments = path.split('/')
  for (const [at, name] of names.entries()) {
    if (name === '*' && at === names.length - 1) return true
    const segment = segments[at]
    if (segment === undefined) return false
    const matchesAny = name === '*' || /^:\w+$/.test(name)
    if (!matchesAny && name !== segment) return false
  }
  return names.length === segments.length
}
