import { createRequire } from 'node:module'
import type { default as ExpressModule } from 'express'
import { test } from 'vitest'
import { httpFidelity } from '../../src/verification/http-fidelity.ts'
import { expressShapes } from './shapes/express.ts'
import { sharedServer } from './shapes/server.ts'

const express = createRequire(import.meta.url)('express-4') as typeof ExpressModule

httpFidelity({
  name: 'express 4',
  test,
  server: sharedServer((...given) => expressShapes(express, ...given)),
  offers: ['compression'],
})
