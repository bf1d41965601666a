/**
 * The doctor: looks at how a service is put together, and says where a retry would take effect twice or get the
 * wrong answer. It reads the app's own tables of routes; no request is sent.
 */
import { InvalidOptionError } from '../core/errors.ts'
import { refuseUnknownOptions } from '../core/options.ts'
import { type Finding, findingsOf, isProtected } from './findings.ts'
import { mountedApp } from './mounted-routes.ts'

export type { Finding, FindingCode } from './findings.ts'
export { type LateReplay, type ReplayWatch, watchReplays } from './replay-watch.ts'

export interface ExamineOptions {
  /**
   * Operations that need no key, such as `'POST /login'`; a `*` stands for any rest. Default: none.
   */
  readonly exempt?: readonly string[]
}

/** What an examination found. */
export interface Examination {
  readonly framework: string
  /** Routes in all, and those of them that take POST or PATCH, with and without protection. */
  readonly routes: number
  readonly protected: number
  readonly unprotected: number
  readonly findings: readonly Finding[]
}

const exemption = /^(?:POST|PATCH|ALL|\*) \/?\S*$/

function exempting(exempt: readonly string[]): (operation: string) => boolean {
  const patterns = exempt.map((given) => {
    if (typeof given !== 'string' || !exemption.test(given)) {
      throw new InvalidOptionError('exempt', "must hold operations such as 'POST /login'", given)
    }
    const escaped = given.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
    return new RegExp(`^${escaped.join('.*')}$`)
  })
  return (operation) => patterns.some((pattern) => pattern.test(operation))
}

/**
 * Examines an app of Express 4 or 5, Fastify (once it is ready), Koa with `@koa/router`, Hono, Elysia or h3.
 *
 * @throws InvalidOptionError where the app is none of these, or an exemption is no operation
 * @example
 * const { findings } = examine(app, { exempt: ['POST /login'] })
 * expect(findings.filter(({ level }) => level === 'problem')).toEqual([])
 */
export function examine(app: unknown, options: ExamineOptions = {}): Examination {
  refuseUnknownOptions('examine', options, ['exempt'])
  const isExempt = exempting(options.exempt ?? [])
  const mounted = mountedApp(app)
  if (mounted === undefined) {
    throw new InvalidOptionError('app', 'must be an app of Express, Fastify, Koa, Hono, Elysia or h3')
  }
  const { framework, routes } = mounted
  const taking = routes.filter(
    ({ method, isExempt: isOut }) => isOut !== true && (method === 'POST' || method === 'PATCH'),
  )
  const guarded = taking.filter(isProtected).length
  return {
    framework,
    routes: routes.length,
    protected: guarded,
    unprotected: taking.length - guarded,
    findings: findingsOf(mounted, isExempt),
  }
}

/** The code of the process warning that names unprotected routes. */
export const unprotectedWarningCode = 'RETRYSAFE_UNPROTECTED'

const warned = new WeakSet<object>()

/**
 * In development (`NODE_ENV` unset or `development`), warns once for each app of what is wrong with it. The layers
 * of Express, Koa and Fastify call it themselves; call it where your framework's layer cannot see its app.
 *
 * @example
 * warnUnprotected(app, { exempt: ['POST /login'] })
 */
export function warnUnprotected(app: object, options: ExamineOptions = {}): void {
  const environment = process.env['NODE_ENV']
  if (environment !== undefined && environment !== 'development') return
  if (warned.has(app)) return
  warned.add(app)
  const problems = examine(app, options).findings.filter(({ level }) => level === 'problem')
  if (problems.length === 0) return
  const lines = problems.map(({ operation, message }) => `${operation} ${message}`)
  process.emitWarning(lines.join('\n'), { type: 'RetrysafeWarning', code: unprotectedWarningCode })
}

/** As `warnUnprotected`, for layers: an app that cannot be read is none to warn of, and never a failed request. */
export function warnFromLayer(app: object | undefined): void {
  try {
    if (app !== undefined) warnUnprotected(app)
  } catch {
    // Another framework's, or one whose tables look otherwise than those known here.
  }
}
