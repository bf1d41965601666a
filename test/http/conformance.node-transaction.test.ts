import { adapterConformance } from './adapter-conformance.ts'

adapterConformance('node-transaction')
