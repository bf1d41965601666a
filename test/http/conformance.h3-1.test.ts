import { adapterConformance } from './adapter-conformance.ts'

adapterConformance('h3-1')
