/** A real server that charges: Express with Retrysafe, its ledger, and faults that tests ask for. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express, { type Express } from 'express'
import { onTestFinished } from 'vitest'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { idempotent, keepRawBody } from '../../src/http/express.ts'
import { memoryStore } from '../../src/stores/memory.ts'

/** A request as it came in, before Retrysafe looked at it. */
export interface Arrival {
  readonly key: string | undefined
  readonly octets: Buffer
  readonly contentType: string | undefined
  readonly authorization: string | undefined
}

export interface Charges {
  readonly origin: string
  readonly app: Express
  /** Every request for a charge, repeated ones included. */
  readonly arrivals: Arrival[]
  /** What took effect: the octets of each charge. */
  readonly effects: Buffer[]
  /** How each of the next requests is treated; none: it is answered. */
  readonly faults: Fault[]
  /** Runs in the handler, before the effect. */
  beforeEffect: () => Promise<void> | void
}

/**
 * `lost`: it takes effect, and the connection ends instead of an answer. `refused`: the connection ends before
 * anything happens. A number: answered with that status before anything happens.
 */
export type Fault = 'lost' | 'refused' | number

/** When to stop. */
export type AtEnd = (stop: () => Promise<void>) => void

/** Serves until the test ends. */
export async function startCharges(atEnd: AtEnd = onTestFinished): Promise<Charges> {
  const idem = createIdempotency({ store: memoryStore(), sweep: false })
  const app = express()
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  atEnd(async () => {
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
    await idem.close()
  })
  const { port } = server.address() as AddressInfo
  const charges: Charges = {
    ...{ origin: `http://127.0.0.1:${port}`, app, arrivals: [], effects: [], faults: [] },
    beforeEffect: () => {},
  }
  app.use('/charges', express.raw({ type: () => true, verify: keepRawBody }))
  app.post(
    '/charges',
    (req, res, next) => {
      const octets = Buffer.isBuffer(req.body) ? req.body : Buffer.alloc(0)
      charges.arrivals.push({
        key: req.get('idempotency-key'),
        octets,
        contentType: req.get('content-type'),
        authorization: req.get('authorization'),
      })
      const fault = charges.faults.shift()
      if (fault === 'refused') req.socket.destroy()
      else if (typeof fault === 'number') res.status(fault).end()
      else {
        if (fault === 'lost') {
          res.end = () => {
            res.socket?.destroy()
            return res
          }
        }
        next()
      }
    },
    idempotent(idem, { principal: () => 'anonymous', required: true }),
    async (req, res) => {
      await charges.beforeEffect()
      const octets = Buffer.isBuffer(req.body) ? req.body : Buffer.alloc(0)
      charges.effects.push(octets)
      const isDeclined = octets.includes('declined')
      res.status(isDeclined ? 402 : 201).json({ id: charges.effects.length })
    },
  )
  return charges
}

/** The keys that were sent, each once. */
export function keysOf({ arrivals }: Charges): string[] {
  return [...new Set(arrivals.map(({ key }) => key ?? ''))]
}
