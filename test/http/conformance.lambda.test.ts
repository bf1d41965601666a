import { adapterConformance } from './adapter-conformance.ts'

adapterConformance('lambda')
