import { adapterConformance } from './adapter-conformance.ts'

adapterConformance('nest-fastify', { skip: { L04: 'Nest reads the body before guards and interceptors' } })
