import express from 'express'
import { test } from 'vitest'
import { httpFidelity } from '../../src/verification/http-fidelity.ts'
import { expressShapes } from './shapes/express.ts'
import { sharedServer } from './shapes/server.ts'

httpFidelity({
  name: 'express 5',
  test,
  server: sharedServer((...given) => expressShapes(express, ...given)),
  offers: ['compression'],
})
