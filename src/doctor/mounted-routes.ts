/** The routes that an app has mounted, read off its own tables, with the layers in front of each. */
import { appliesTo, joinPaths, type Json } from './paths.ts'

/** A layer as it is mounted. */
export interface MountedLayer {
  /** Its function's name, `''` where it has none. */
  readonly name: string
  /** The function, or whatever may carry a description. */
  readonly layer: unknown
}

/** A route, for one method. */
export interface MountedRoute {
  /** In upper case; `ALL` for every method. */
  readonly method: string
  readonly path: string
  /** In the order in which a request meets them, the handler last. */
  readonly layers: readonly MountedLayer[]
  /** Its own options say that it takes no key. */
  readonly isExempt?: boolean
}

export interface MountedApp {
  readonly framework: 'express' | 'koa' | 'hono' | 'fastify' | 'elysia' | 'h3'
  readonly routes: readonly MountedRoute[]
}

/** Reads an app of a framework that is known here; `undefined` for anything else. */
export function mountedApp(app: unknown): MountedApp | undefined {
  if ((typeof app !== 'object' && typeof app !== 'function') || app === null) return undefined
  const found = readers.find(({ fits }) => fits(app as Json))
  return found === undefined ? undefined : { framework: found.framework, routes: found.read(app as Json) }
}

interface Reader {
  readonly framework: MountedApp['framework']
  fits(app: Json): boolean
  read(app: Json): MountedRoute[]
}

function isFunction(value: unknown): value is (...given: never[]) => unknown {
  return typeof value === 'function'
}

function layerOf(layer: unknown): MountedLayer {
  return { name: isFunction(layer) ? layer.name : '', layer }
}

/** A layer that stands in front of every route below a path that is mounted after it. */
interface Above {
  readonly path: string
  readonly layer: MountedLayer
}

const passing = (above: readonly Above[], path: string): MountedLayer[] =>
  above.filter((one) => appliesTo(one.path, path)).map(({ layer }) => layer)

/** One entry of Express' stack. `rawPath` is Express 5's, `regexp` Express 4's. */
interface ExpressEntry {
  readonly name: string
  readonly handle: { readonly stack?: readonly ExpressEntry[] }
  readonly rawPath?: unknown
  readonly regexp?: { readonly source: string }
  readonly route?: {
    readonly path: unknown
    readonly stack: readonly { readonly method?: string; readonly handle: unknown }[]
  }
}

function mountPathOf({ rawPath, regexp }: ExpressEntry): string {
  if (typeof rawPath === 'string') return rawPath
  if (regexp === undefined) return '*'
  // Express 4 keeps the pattern only: `^\/v1(?:\/([^/]+?))\/?(?=\/|$)`.
  const source = regexp.source
    .replace(/^\^/, '')
    .replace(/\\\/\?\(\?=\\\/\|\$\)$/, '')
    .replace(/\(\?:\\\/\(\[\^\/\]\+\?\)\)/g, '/:param')
    .replaceAll('\\/', '/')
  return source === '' ? '/' : source
}

function readExpress(stack: readonly ExpressEntry[], base: string, given: readonly Above[]): MountedRoute[] {
  const above = [...given]
  const routes: MountedRoute[] = []
  for (const entry of stack) {
    const { route, handle } = entry
    if (route !== undefined) {
      const path = joinPaths(base, String(route.path))
      const own = route.stack.map((one) => ({ method: one.method, layer: layerOf(one.handle) }))
      const methods = new Set(own.map(({ method }) => method ?? '_all'))
      for (const method of methods) {
        const layers = own.filter((one) => one.method === undefined || one.method === method)
        routes.push({
          method: method === '_all' ? 'ALL' : method.toUpperCase(),
          path,
          layers: [...passing(above, path), ...layers.map(({ layer }) => layer)],
        })
      }
    } else if (Array.isArray(handle.stack)) {
      routes.push(...readExpress(handle.stack, joinPaths(base, mountPathOf(entry)), above))
    } else {
      above.push({ path: joinPaths(base, mountPathOf(entry)), layer: layerOf(handle) })
    }
  }
  return routes
}

/** An entry of a router for Koa. */
interface KoaEntry {
  readonly path: string
  readonly methods: readonly string[]
  readonly stack: readonly unknown[]
}

function readKoa(middleware: readonly Json[]): MountedRoute[] {
  const above: Above[] = []
  const routes: MountedRoute[] = []
  for (const one of middleware) {
    const stack = (one['router'] as { stack?: readonly KoaEntry[] } | undefined)?.stack
    if (stack === undefined) {
      above.push({ path: '/', layer: layerOf(one) })
      continue
    }
    const inside: Above[] = []
    for (const { path, methods, stack: layers } of stack) {
      // What a router uses has no methods; its path is a pattern that begins with its prefix.
      if (methods.length === 0) {
        const prefix = path.replace(/\(.*$/, '') || '/'
        inside.push(...layers.map((layer) => ({ path: prefix, layer: layerOf(layer) })))
      }
      for (const method of methods) {
        if (method === 'HEAD' && methods.includes('GET')) continue
        routes.push({
          method,
          path,
          layers: [...passing([...above, ...inside], path), ...layers.map(layerOf)],
        })
      }
    }
  }
  return routes
}

interface HonoEntry {
  readonly path: string
  readonly method: string
  readonly handler: unknown
}

/** Under which Hono keeps the handler of an application with an error handler that was mounted in another one. */
const composed = '__COMPOSED_HANDLER'
const nestingMax = 32

/** The handler as it was given to Hono. */
export function honoHandler(handler: unknown): object {
  let target = handler as { [composed]?: unknown }
  for (let depth = 0; depth < nestingMax && target[composed] !== undefined; depth++) {
    target = target[composed] as { [composed]?: unknown }
  }
  return target
}

/** Hono lists every handler by itself: those of one route follow each other. */
function readHono(entries: readonly HonoEntry[]): MountedRoute[] {
  const above: Above[] = []
  const routes = new Map<string, { method: string; path: string; layers: MountedLayer[] }>()
  for (const { path, method, handler } of entries) {
    const layer = layerOf(honoHandler(handler))
    if (method === 'ALL' && path.endsWith('*')) {
      above.push({ path, layer })
      continue
    }
    const key = `${method} ${path}`
    const known = routes.get(key)
    if (known === undefined) routes.set(key, { method, path, layers: [...passing(above, path), layer] })
    else known.layers.push(layer)
  }
  return [...routes.values()]
}

/**
 * Where the plugin for Fastify keeps the layer of each route, or `false`, by `METHOD url`. Global, so that copies of
 * the package agree.
 */
export const fastifyLayers: unique symbol = Symbol.for('retrysafe.fastify-layers')

function readFastify(app: Json): MountedRoute[] {
  const layers = app[fastifyLayers] as ReadonlyMap<string, unknown> | undefined
  const tree = (app['printRoutes'] as (options: object) => string).call(app, { commonPrefix: false })
  const routes: MountedRoute[] = []
  const parents: string[] = []
  for (const line of tree.split('\n')) {
    const match = /^((?:\u2502 {3}| {4})*)[\u251c\u2514]\u2500\u2500 (\S+)(?: \(([A-Z, -]+)\))?/.exec(line)
    if (match === null) continue
    const [, indent = '', part = '', methods = ''] = match
    const depth = indent.length / 4
    const path = `${parents[depth - 1] ?? ''}${part}`
    parents.splice(depth, Infinity, path)
    for (const method of methods.split(', ').filter((name) => name !== '')) {
      const layer = layers?.get(`${method} ${path}`)
      if (layer === false) routes.push({ method, path, layers: [], isExempt: true })
      else routes.push({ method, path, layers: layer === undefined ? [] : [layerOf(layer)] })
    }
  }
  return routes
}

interface ElysiaEntry {
  readonly method: string
  readonly path: string
  readonly handler: unknown
  readonly hooks: Readonly<Record<string, unknown>>
}

function readElysia(entries: readonly ElysiaEntry[]): MountedRoute[] {
  return entries.map(({ method, path, handler, hooks }) => {
    const functions = Object.values(hooks)
      .flat()
      .map((hook) => (hook as { fn?: unknown } | undefined)?.fn ?? hook)
      .filter(isFunction)
    return { method, path, layers: [...functions.map(layerOf), layerOf(handler)] }
  })
}

interface H3Entry {
  readonly method?: string
  readonly route?: string
  readonly handler: unknown
  readonly middleware?: readonly unknown[]
}

function readH3(app: Json): MountedRoute[] {
  const shared = (app['~middleware'] as readonly unknown[] | undefined) ?? []
  return (app['~routes'] as readonly H3Entry[]).map(({ method, route = '/', handler, middleware = [] }) => ({
    method: method === undefined || method === '' ? 'ALL' : method,
    path: route,
    layers: [...shared, ...middleware, handler].map(layerOf),
  }))
}

const readers: readonly Reader[] = [
  {
    framework: 'fastify',
    fits: (app) => isFunction(app['printRoutes']) && isFunction(app['addHook']),
    read: readFastify,
  },
  {
    framework: 'express',
    fits: (app) => isFunction(app) && isFunction((app as Json)['handle']) && isFunction((app as Json)['use']),
    read(app) {
      // Express 4 throws at `router`, and makes its own at the first route.
      const router = (app['_router'] ?? (app['lazyrouter'] === undefined ? app['router'] : undefined)) as
        | { readonly stack?: readonly ExpressEntry[] }
        | undefined
      return readExpress(router?.stack ?? [], '', [])
    },
  },
  {
    framework: 'koa',
    fits: (app) => Array.isArray(app['middleware']) && isFunction(app['callback']),
    read: (app) => readKoa(app['middleware'] as Json[]),
  },
  {
    framework: 'elysia',
    fits: (app) => isFunction(app['onBeforeHandle']) && Array.isArray(app['routes']),
    read: (app) => readElysia(app['routes'] as ElysiaEntry[]),
  },
  {
    framework: 'hono',
    fits: (app) => Array.isArray(app['routes']) && isFunction(app['fetch']),
    read: (app) => readHono(app['routes'] as HonoEntry[]),
  },
  { framework: 'h3', fits: (app) => Array.isArray(app['~routes']), read: readH3 },
]
