import { adapterConformance } from './adapter-conformance.ts'

adapterConformance('nest', { L04: 'Nest reads the body before guards and interceptors' })
