import { adapterConformance } from './adapter-conformance.ts'

adapterConformance('elysia', {
  skip: { L04: 'Elysia parses a body before any hook of a route can decide' },
})
