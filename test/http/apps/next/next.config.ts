import { join } from 'node:path'
import type { NextConfig } from 'next'

const config: NextConfig = {
  reactStrictMode: true,
  // Each test file builds into a folder of its own, because several may run at once.
  distDir: process.env.OUTPUT ?? '.next',
  turbopack: { root: join(import.meta.dirname, '../../../..') },
  typescript: { ignoreBuildErrors: true },
  experimental: { useTypeScriptCli: true, authInterrupts: true },
}

export default config
