import { test } from 'vitest'
import { httpFidelity } from '../../src/verification/http-fidelity.ts'
import { fetchShapes } from './shapes/fetch.ts'
import { sharedServer } from './shapes/server.ts'

httpFidelity({ name: 'fetch', test, server: sharedServer(fetchShapes), offers: ['http2'] })
