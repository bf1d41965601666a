/** Which protection a request gets. */
import type { GatewayConfig, RouteOptions } from './config.ts'
import { safeMethods } from './config.ts'
import { covers, lenientPath } from './match.ts'

export type Protection =
  | { readonly kind: 'protected'; readonly route: string; readonly options: RouteOptions }
  | { readonly kind: 'open'; readonly route: string }

const protectedByDefault: ReadonlySet<string> = new Set(['POST', 'PATCH'])

/** Name of the route that no pattern covers, for logs. */
const otherRoute = 'other'

/**
 * The first route that covers a path decides. A path that a route covers only in another spelling is protected by
 * it too, but never let through by it.
 */
export function protectionOf(config: GatewayConfig, method: string, path: string): Protection {
  if (safeMethods.has(method)) return { kind: 'open', route: otherRoute }
  const lenient = config.routes.length === 0 ? path : lenientPath(path)
  for (const route of config.routes) {
    const { pattern } = route
    if (route.kind === 'bypass') {
      if (covers(pattern, method, path)) return { kind: 'open', route: pattern.text }
    } else if (covers(pattern, method, path) || covers(pattern, method, lenient)) {
      return { kind: 'protected', route: pattern.text, options: route.options }
    }
  }
  if (!protectedByDefault.has(method)) return { kind: 'open', route: otherRoute }
  return { kind: 'protected', route: otherRoute, options: config.defaults }
}
