import { beforeAll, test } from 'vitest'
import { httpFidelity } from '../../src/verification/http-fidelity.ts'
import { nest11 } from './nest/nest-11.ts'
import { nest12 } from './nest/packages.ts'
import { nestFastifyShapes, nestShapes } from './shapes/nest.ts'
import { sharedServer } from './shapes/server.ts'

// npm may have to install it first.
beforeAll(async () => void (await nest11()), 300_000)

httpFidelity({
  name: 'nest 12 on express',
  test,
  server: sharedServer((...given) => nestShapes(nest12, ...given)),
  offers: ['compression'],
})

httpFidelity({
  name: 'nest 12 on fastify',
  test,
  server: sharedServer((...given) => nestFastifyShapes(nest12, ...given)),
  offers: ['http2'],
})

httpFidelity({
  name: 'nest 11 on express',
  test,
  server: sharedServer(async (...given) => nestShapes(await nest11(), ...given)),
  offers: ['compression'],
})
