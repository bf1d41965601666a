import { adapterConformance } from './adapter-conformance.ts'

adapterConformance('lambda', {
  skip: { L04: 'a function is called when its host has read the whole request' },
})
