import { test } from 'vitest'
import { httpFidelity } from '../../src/verification/http-fidelity.ts'
import { nodeShapes } from './shapes/node.ts'
import { sharedServer } from './shapes/server.ts'

httpFidelity({ name: 'node:http', test, server: sharedServer(nodeShapes), offers: ['http2'] })
