import { test } from 'vitest'
import { httpFidelity } from '../../src/verification/http-fidelity.ts'
import { fastifyShapes } from './shapes/fastify.ts'
import { sharedServer } from './shapes/server.ts'

httpFidelity({ name: 'fastify 5', test, server: sharedServer(fastifyShapes), offers: ['http2'] })
