import { test } from 'vitest'
import { httpFidelity } from '../../src/verification/http-fidelity.ts'
import { honoShapes } from './shapes/hono.ts'
import { sharedServer } from './shapes/server.ts'

httpFidelity({ name: 'hono 4', test, server: sharedServer(honoShapes), offers: ['http2', 'compression'] })
