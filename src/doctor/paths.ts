/** Paths of routers, joined and compared. */

/** An object whose members are looked at by name. */
export type Json = Readonly<Record<PropertyKey, unknown>>

/** A path below another one. */
export function joinPaths(base: string, path: string): string {
  const joined = `${base}/${path}`.replaceAll(/\/{2,}/g, '/')
  return joined.length > 1 ? joined.replace(/\/$/, '') : joined
}

/** Whether what is mounted at a path, with or without a `*` at its end, stands in front of a route. */
export function appliesTo(mounted: string, path: string): boolean {
  const prefix = mounted.replace(/\/?\*+$/, '').replace(/\/$/, '')
  if (prefix === '') return true
  const parts = prefix.split('/')
  const others = path.split('/')
  return parts.every((part, at) => {
    const other = others[at]
    return other !== undefined && (part === other || part.startsWith(':'))
  })
}
