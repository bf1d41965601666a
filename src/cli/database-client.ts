/**
 * The client library of a database, which is the user's own: the package has no dependencies. It is looked for
 * from the working folder on.
 */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { failure } from './failure.ts'

/** The first of these packages that is installed. @throws CommandError saying what to install */
export function loadFirst<Name extends string>(
  names: readonly Name[],
): { readonly name: Name; readonly library: any } {
  const require = createRequire(join(process.cwd(), 'any.js'))
  for (const name of names) {
    try {
      require.resolve(name)
    } catch {
      continue
    }
    const loaded = require(name)
    return { name, library: loaded.default ?? loaded }
  }
  const packages = names.map((name) => /^(?:@[^/]+\/)?[^/]+/.exec(name)?.[0] ?? name)
  throw failure(
    `No client library was found in ${process.cwd()} or above: install ${packages.join(' or ')} there.`,
  )
}
