import { test } from 'vitest'
import { httpFidelity } from '../../src/verification/http-fidelity.ts'
import type { EventFormat } from '../lambda/http-host.ts'
import { lambdaShapes } from './shapes/lambda.ts'
import { sharedServer } from './shapes/server.ts'

const whole = 'a function returns a whole answer or none'
const formats: Readonly<Record<EventFormat, Readonly<Record<string, string>>>> = {
  v2: {},
  v1: { thrown: 'the host answers 502, not 500' },
  alb: {
    thrown: 'the host answers 502, not 500',
    head: 'a field has one line',
    cookies: 'a field has one line',
  },
  'alb-lists': { thrown: 'the host answers 502, not 500' },
}

for (const [format, skip] of Object.entries(formats)) {
  httpFidelity({
    name: `lambda, ${format}`,
    test,
    server: sharedServer(lambdaShapes(format as EventFormat)),
    skip: { 'event-stream': whole, 'thrown-late': whole, ...skip },
  })
}
