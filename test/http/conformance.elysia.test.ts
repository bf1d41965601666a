import { adapterConformance } from './adapter-conformance.ts'

adapterConformance('elysia')
