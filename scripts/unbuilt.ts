/**
 * Lets `import 'retrysafe/..'` reach the sources, so that the examples run in a clone without a build:
 * `node --import ./scripts/unbuilt.ts examples/express/server.ts`.
 */
import { registerHooks } from 'node:module'
import manifest from '../package.json' with { type: 'json' }

const root = new URL('..', import.meta.url)
const targets: Readonly<Record<string, unknown>> = manifest.exports

/** The source file of a subpath of the package, `undefined` for anything else. */
function sourceOf(specifier: string): string | undefined {
  if (specifier !== manifest.name && !specifier.startsWith(`${manifest.name}/`)) return undefined
  const target = targets[`.${specifier.slice(manifest.name.length)}`] as { default?: string } | undefined
  const source = target?.default?.replace('./dist/', './src/').replace(/\.js$/, '.ts')
  return source === undefined ? undefined : new URL(source, root).href
}

registerHooks({
  resolve(specifier, context, nextResolve) {
    const url = sourceOf(specifier)
    return url === undefined ? nextResolve(specifier, context) : { url, shortCircuit: true }
  },
})
