import { test } from 'vitest'
import { httpFidelity } from '../../src/verification/http-fidelity.ts'
import { h3Shapes } from './shapes/h3.ts'
import { sharedServer } from './shapes/server.ts'

httpFidelity({ name: 'h3 2', test, server: sharedServer(h3Shapes) })
