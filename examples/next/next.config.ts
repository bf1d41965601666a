import { join } from 'node:path'
import type { NextConfig } from 'next'

// Only for this clone: `retrysafe` is the sources beside it (see `paths` in tsconfig.json), and the types are checked
// from the root.
const config: NextConfig = {
  turbopack: { root: join(import.meta.dirname, '../..') },
  typescript: { ignoreBuildErrors: true },
  experimental: { useTypeScriptCli: true },
}

export default config
