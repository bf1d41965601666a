/**
 * Round trips between a process and a server: either message may be late, lost, or arrive twice, and what was sent
 * arrives also after its sender has ended. The sender learns of a lost message when its connection ends, after a
 * while, or never.
 */
import { StoreError } from '../../core/errors.ts'
import { type Leg, type Rates, replyLegs, requestLegs, usualLeg } from './faults.ts'
import type { SimProcess } from './process.ts'
import type { World } from './world.ts'

/** Who can be away, and come back as another. */
export interface Server {
  readonly away: boolean
  readonly generation: number
}

export interface RoundTrip<Reply> {
  readonly name: string
  readonly process: SimProcess
  readonly server: Server
  /** Applies the request when it arrives and answers, now or later. */
  apply(answer: (reply: Reply) => void): void
  /** The connection that it goes through, where it needs that one. Nothing arrives twice on it. */
  readonly connection?: ConnectionEnds
}

export interface ConnectionEnds {
  /** Whether the server still has the other end. */
  readonly isOpen: boolean
  /** When the last message of it arrives. */
  arrivesAt: number
  /** The sender has lost it, or given it up. */
  end(): void
}

export class Network {
  readonly #world: World
  readonly #rates: Rates

  constructor(world: World, rates: Rates) {
    this.#world = world
    this.#rates = rates
  }

  /** Rejects with `StoreError` when the answer does not come; the request may have been applied, or still will be. */
  send<Reply>(trip: RoundTrip<Reply>): Promise<Reply> {
    const { name, process, server } = trip
    const world = this.#world
    const generation = server.generation
    return new Promise((resolve, reject) => {
      const giveUp = (afterMs: number | undefined): void => {
        if (afterMs === undefined) return
        world.later(
          afterMs,
          `${name}: no answer`,
          () => {
            trip.connection?.end()
            reject(new StoreError('lost', 'The connection ended before an answer came.'))
          },
          process,
        )
      }
      const answerAfter = (reply: Reply): void => {
        const leg = this.#leg(`${name}: answer`, replyLegs, this.#rates.reply)
        if (leg.delayMs === undefined) return giveUp(leg.givenUpAfterMs)
        world.later(
          leg.delayMs,
          `${name}: answered`,
          () => (server.generation === generation ? resolve(reply) : giveUp(0)),
          process,
        )
      }
      const request = this.#leg(name, requestLegs, this.#rates.request)
      const arrive = (delayMs: number, answers: boolean): void => {
        world.later(delayMs, `${name}: arrives`, () => {
          if (server.away || server.generation !== generation || trip.connection?.isOpen === false) {
            if (answers) giveUp(1)
          } else if (request.refused === true) {
            world.later(
              4,
              `${name}: refused`,
              () => reject(new StoreError('transient', 'The store is busy.')),
              process,
            )
          } else trip.apply(answers ? answerAfter : () => {})
        })
      }
      if (request.delayMs !== undefined) {
        arrive(request.delayMs, request.givenUpAfterMs === undefined)
        if (trip.connection !== undefined) trip.connection.arrivesAt = world.time + request.delayMs
        else if (request.againAfterMs !== undefined) arrive(request.delayMs + request.againAfterMs, false)
      }
      giveUp(request.givenUpAfterMs)
    })
  }

  #leg(name: string, legs: readonly Leg[], upTo: readonly number[]): Leg {
    if (this.#world.quiet) return usualLeg
    const leg = legs[this.#world.tape.weighted(name, upTo)] as Leg
    if (leg.harmless !== true) {
      this.#world.record({ type: 'fault', fault: leg.name, target: name })
    }
    if (leg !== usualLeg) this.#world.tell(() => `  network: ${name} ${leg.name}`)
    return leg
  }
}
