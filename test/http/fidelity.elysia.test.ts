import { test } from 'vitest'
import { httpFidelity } from '../../src/verification/http-fidelity.ts'
import { elysiaShapes } from './shapes/elysia.ts'
import { sharedServer } from './shapes/server.ts'

for (const served of ['node', 'web'] as const) {
  const server = sharedServer((...given) => elysiaShapes(served, ...given))
  httpFidelity({ name: `elysia 1 on ${served}`, test, server })
}
