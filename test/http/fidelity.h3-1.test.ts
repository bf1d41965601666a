import { test } from 'vitest'
import { httpFidelity } from '../../src/verification/http-fidelity.ts'
import { h31Shapes } from './shapes/h3-1.ts'
import { sharedServer } from './shapes/server.ts'

httpFidelity({
  name: 'h3 1',
  test,
  server: sharedServer(h31Shapes),
  offers: ['compression'],
  skip: { 'thrown-late': 'h3 1 never ends such an answer, with the layer or without it' },
})
