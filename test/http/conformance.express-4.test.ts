import { adapterConformance } from './adapter-conformance.ts'

adapterConformance('express-4')
