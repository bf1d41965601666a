import { adapterConformance } from './adapter-conformance.ts'

adapterConformance('react-router')
