/** Bundles as a reader's build makes them, in memory. */
import { join } from 'node:path'
import { build, type Rolldown } from 'vite'

const root = join(import.meta.dirname, '../../..')

export interface BundleOptions {
  readonly minify: boolean
  readonly external?: readonly string[]
}

/** The code of one entry, a path below the root of the project. */
export async function bundle(entry: string, { minify, external = [] }: BundleOptions): Promise<string> {
  const built = (await build({
    root,
    configFile: false,
    logLevel: 'error',
    // React tells of its warnings in development only.
    define: { 'process.env.NODE_ENV': JSON.stringify(minify ? 'production' : 'development') },
    build: {
      write: false,
      minify,
      target: 'es2022',
      modulePreload: false,
      rolldownOptions: {
        input: entry,
        preserveEntrySignatures: 'strict',
        external: [...external],
        output: { format: 'es' },
      },
    },
  })) as Rolldown.RolldownOutput
  return built.output[0].code
}
