import { test } from 'vitest'
import { httpFidelity } from '../../src/verification/http-fidelity.ts'
import { koaShapes } from './shapes/koa.ts'
import { sharedServer } from './shapes/server.ts'

httpFidelity({ name: 'koa 3', test, server: sharedServer(koaShapes), offers: ['compression'] })
