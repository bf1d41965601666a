import { configDefaults, defineConfig, type ViteUserConfig } from 'vitest/config'

const config: ViteUserConfig = defineConfig({
  test: {
    environment: 'node',
    include: ['test/**/*.test.ts'],
    exclude: [...configDefaults.exclude, '.scratch/**'],
    typecheck: {
      enabled: true,
      include: ['test/types/*.test-d.ts'],
      checker: 'tsc',
      tsconfig: './tsconfig.json',
    },
    globalSetup: ['./test/servers/global-setup.ts'],
    reporters: ['./scripts/reporter.ts'],
    testTimeout: 20_000,
    // For tests that fail: on a busy machine what is waited for may take seconds.
    expect: { poll: { timeout: 15_000, interval: 20 } },
    hookTimeout: 60_000,
    teardownTimeout: 10_000,
    maxWorkers: 2,
  },
})

export default config
