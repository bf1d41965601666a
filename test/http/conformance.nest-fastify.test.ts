import { adapterConformance } from './adapter-conformance.ts'

adapterConformance('nest-fastify', { L04: 'Nest reads the body before guards and interceptors' })
