/** Which route a request belongs to. */

/** `POST /payments`, `POST|PATCH /orders/*`: methods and a path whose `*` is one segment, or at the end any rest. */
export interface RoutePattern {
  readonly text: string
  readonly methods: ReadonlySet<string>
  readonly segments: readonly string[]
  readonly takesRest: boolean
}

const patternCharactersMax = 200
const patternText = /^([A-Z]+(?:\|[A-Z]+)*) (\/[!-~]*)$/

/** Reads a pattern, or gives the rule that it breaks. */
export function parsePattern(text: string): RoutePattern | { readonly rule: string } {
  const [, methods, path] = patternText.exec(text) ?? []
  if (methods === undefined || path === undefined || text.length > patternCharactersMax) {
    return { rule: "must be methods and a path, such as 'POST /payments' or 'POST|PATCH /orders/*'" }
  }
  if (/[?#]/.test(path)) return { rule: 'must be a path without query and fragment' }
  const segments = path.split('/').slice(1)
  if (segments.some((segment) => segment !== '*' && segment.includes('*'))) {
    return { rule: "must use '*' as a whole segment only" }
  }
  const takesRest = segments.at(-1) === '*'
  return {
    text,
    methods: new Set(methods.split('|')),
    segments: takesRest ? segments.slice(0, -1) : segments,
    takesRest,
  }
}

/** Whether a pattern covers a path as given; nothing is decoded. */
export function covers(pattern: RoutePattern, method: string, path: string): boolean {
  if (!pattern.methods.has(method)) return false
  const given = path.split('/').slice(1)
  const { segments, takesRest } = pattern
  if (takesRest ? given.length <= segments.length : given.length !== segments.length) return false
  return segments.every((segment, index) => segment === '*' || segment === given[index])
}

/**
 * The path as a lenient upstream may read it: percent-encoded characters decoded, empty and dot segments and
 * path parameters taken away, no slash at the end. A stricter route must not be passed by spelling.
 */
export function lenientPath(path: string): string {
  const segments: string[] = []
  for (const raw of decode(path).split('/')) {
    const segment = raw.split(';', 1)[0] ?? ''
    if (segment === '..') segments.pop()
    else if (segment !== '' && segment !== '.') segments.push(segment)
  }
  return `/${segments.join('/')}`
}

function decode(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}

/** Path and query of a request target in origin form or absolute form (RFC 9112, section 3.2). */
export function splitTarget(target: string): { path: string; query: string; target: string } | undefined {
  const authority = /^https?:\/\/[^/?#]*/i.exec(target)
  const rest = authority === null ? target : target.slice(authority[0].length)
  const origin = authority !== null && !rest.startsWith('/') ? `/${rest}` : rest
  if (!origin.startsWith('/') || origin.includes('#')) return undefined
  const mark = origin.indexOf('?')
  if (mark === -1) return { path: origin, query: '', target: origin }
  return { path: origin.slice(0, mark), query: origin.slice(mark + 1), target: origin }
}
