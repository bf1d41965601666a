import { describe, test, vi } from 'vitest'
import { storeConformance } from '../../src/verification/index.ts'
import { hasRedis } from '../servers.ts'
import { openRedisStore, redisClients } from './redis-clients.ts'

// Cases run side by side, so that one takes longer by the clock than alone.
vi.setConfig({ testTimeout: 60_000 })

describe.runIf(hasRedis)('redis', () => {
  for (const library of Object.keys(redisClients)) {
    storeConformance({
      name: `redis on ${library}`,
      // They wait for short times more than they work.
      test: test.concurrent,
      joinsTransaction: false,
      advance: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      async open() {
        const { store, close } = await openRedisStore(library)
        return { store, dispose: close }
      },
    })
  }
})
