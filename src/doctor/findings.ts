/** What is wrong, or likely to be, with how an app is put together. */
import { descriptionOf, isKeyedByItself, type ProtectedOperation } from '../openapi/protected-operation.ts'
import type { MountedApp, MountedRoute } from './mounted-routes.ts'

export type FindingCode =
  /** A route for POST or PATCH has no layer in front of it. */
  | 'route-unprotected'
  /** A compressor stands between the layer and its handler: answers are stored in one client's coding. */
  | 'compression-inside'
  /** A body parser stands in front of the layer: see that it keeps the octets. */
  | 'parser-before'
  /** All callers share one scope. */
  | 'principal-anonymous'
  /** Retries come so late that later ones may find nothing. */
  | 'retention-short'

export interface Finding {
  readonly code: FindingCode
  /** `problem`: money can be lost. `advice`: look at it once. */
  readonly level: 'problem' | 'advice'
  /** Such as `POST /charges`. */
  readonly operation: string
  readonly message: string
  /** What to do about it. */
  readonly advice: string
}

const guardedMethods: ReadonlySet<string> = new Set(['POST', 'PATCH', 'ALL'])
const compressors = /^(?:compression|compress|compressMiddleware)$/
const parsers = /^(?:jsonParser|urlencodedParser|rawParser|textParser|bodyParser)$/

/** The layer in front of a route: where it stands, and what it says of itself. */
export interface Protection {
  readonly at: number
  readonly operation: ProtectedOperation
}

/** The first layer of ours in front of a route that guards its method. */
export function protectionOf(route: MountedRoute): Protection | undefined {
  for (const [at, { layer }] of route.layers.entries()) {
    const operation = descriptionOf(layer)
    if (operation !== undefined && (route.method === 'ALL' || operation.methods.includes(route.method))) {
      return { at, operation }
    }
  }
  return undefined
}

/** Whether a route runs once for a key: one of the client's, or one that its handler finds. */
export function isProtected(route: MountedRoute): boolean {
  return protectionOf(route) !== undefined || route.layers.some(({ layer }) => isKeyedByItself(layer))
}

/** Whether somebody said of a route that it needs no protection. */
export type IsExempt = (operation: string) => boolean

/** What there is to say about the routes of an app, in their order. */
export function findingsOf(app: MountedApp, isExempt: IsExempt = () => false): Finding[] {
  return app.routes
    .filter(({ method }) => guardedMethods.has(method))
    .flatMap((route) => findingsOfRoute(route, isExempt))
}

function findingsOfRoute(route: MountedRoute, isExempt: IsExempt): Finding[] {
  const operation = `${route.method} ${route.path}`
  const protection = protectionOf(route)
  if (protection === undefined) {
    // A handler for every method is rarely one that takes effects; it is worth a look.
    const level = route.method === 'ALL' ? 'advice' : 'problem'
    return route.isExempt === true || isExempt(operation) || isProtected(route)
      ? []
      : [
          {
            code: 'route-unprotected',
            level,
            operation,
            message: 'takes no idempotency key: a retry takes effect again',
            advice: 'put the layer in front of it, or exempt it where a second effect does no harm',
          },
        ]
  }
  const findings: Finding[] = []
  const before = route.layers.slice(0, protection.at)
  const after = route.layers.slice(protection.at + 1)
  if (after.some(({ name }) => compressors.test(name))) {
    findings.push({
      code: 'compression-inside',
      level: 'problem',
      operation,
      message: 'is compressed inside of the layer: a replay has the coding that the first client asked for',
      advice: 'mount compression before the layer',
    })
  }
  const parser = before.find(({ name }) => parsers.test(name))
  if (parser !== undefined) {
    findings.push({
      code: 'parser-before',
      level: 'advice',
      operation,
      message: `has ${parser.name} in front of the layer`,
      advice: 'give the parser { verify: keepRawBody }, or mount it behind the layer',
    })
  }
  if (protection.operation.anonymous) {
    findings.push({
      code: 'principal-anonymous',
      level: 'advice',
      operation,
      message: "has the principal 'anonymous': whoever sends a key that was used gets that answer",
      advice: 'return the tenant or the user from principal, unless all callers are one',
    })
  }
  return findings
}
