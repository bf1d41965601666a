/** The doctor knows that a webhook has its key from its event. */
import express from 'express'
import { expect, test } from 'vitest'
import { examine } from '../../src/doctor/index.ts'
import { stripe } from './deliveries.ts'
import { counted } from './harness.ts'

test('a route of a webhook needs no layer', () => {
  const app = express()
  app.post('/hooks/stripe', counted(stripe).hook.node)
  app.post('/refunds', (_req, res) => res.end())
  const { protected: guarded, unprotected, findings } = examine(app)
  expect([guarded, unprotected]).toEqual([1, 1])
  expect(findings.map(({ operation }) => operation)).toEqual(['POST /refunds'])
})
