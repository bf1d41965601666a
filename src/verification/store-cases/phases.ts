/**
 * Every verb in every state: it either changes the record as the contract says, or refuses with the record that
 * is there and alters nothing. What is expected is computed from the record that is there, so that a store
 * which drops expired records by itself passes too.
 */
import assert from 'node:assert/strict'
import type { IdempotencyRecord } from '../../core/record.ts'
import {
  completion,
  type Context,
  type Seen,
  longMs,
  newClaim,
  newToken,
  plain,
  type StoreCase,
  states,
} from './context.ts'

interface Probe {
  readonly name: string
  /** Sends the verb and gives its reply. */
  send(context: Context, held: Seen): Promise<{ readonly kind: string; readonly record?: unknown }>
  /** Whether it changes this record. */
  changes(record: IdempotencyRecord | undefined, now: number): boolean
  /** The reply when it does not. */
  readonly refusal: 'found' | 'refused' | 'lost'
}

type Ends = 'completed' | 'released' | 'unknown'

const isRunning = (record: IdempotencyRecord | undefined): boolean => record?.phase === 'running'
const never = (): boolean => false

function settleProbe(to: Ends, whose: 'own' | 'foreign'): Probe {
  return {
    name: `settle to ${to}, ${whose} token`,
    send({ settle }, held) {
      const { id } = held
      const token = whose === 'own' ? held.token : newToken()
      if (to === 'completed') return settle(completion({ id, token }))
      if (to === 'released') return settle({ id, token, to, markerMs: longMs })
      return settle({ id, token, to, retentionMs: longMs })
    },
    changes: whose === 'own' ? isRunning : never,
    refusal: 'refused',
  }
}

const probes: readonly Probe[] = [
  {
    name: 'claim',
    send: ({ claim }, { id }) => claim(newClaim({ id })),
    changes: (record) => record === undefined,
    refusal: 'found',
  },
  {
    name: 'claim sent again',
    send: ({ claim }, { id, token }) => claim(newClaim({ id, token })),
    changes: (record) => record === undefined,
    refusal: 'found',
  },
  {
    name: 'supersede, token as seen',
    send: ({ supersede }, held) => supersede(held, newClaim({ id: held.id })),
    changes: (record, now) =>
      record !== undefined && !(record.phase === 'running' && now < record.leaseUntil),
    refusal: 'refused',
  },
  {
    name: 'supersede, another token seen',
    send: ({ supersede }, { id, phase }) => supersede({ token: newToken(), phase }, newClaim({ id })),
    changes: never,
    refusal: 'refused',
  },
  {
    name: 'supersede, another phase seen',
    send: ({ supersede }, { id, token, phase }) =>
      supersede({ token, phase: phase === 'running' ? 'unknown' : 'running' }, newClaim({ id })),
    changes: never,
    refusal: 'refused',
  },
  {
    name: 'renew, own token',
    send: ({ renew }, held) => renew(held, 2 * longMs),
    changes: isRunning,
    refusal: 'lost',
  },
  {
    name: 'renew, foreign token',
    send: ({ renew }, { id }) => renew({ id, token: newToken() }, longMs),
    changes: never,
    refusal: 'lost',
  },
  ...(['completed', 'released', 'unknown'] as const).flatMap((to) => [
    settleProbe(to, 'own'),
    settleProbe(to, 'foreign'),
  ]),
]

export const phaseCases: readonly StoreCase[] = states.map((state) => ({
  name: `every verb on a record that is ${state}`,
  async run(context) {
    for (const probe of probes) {
      const held = await context.bring(state)
      const { now, replies } = await context.store.read([held.id])
      const before = replies[0]
      const reply = await probe.send(context, held)
      const after = await context.read(held.id)
      if (probe.changes(before, now)) {
        assert.notEqual(reply.kind, probe.refusal, `${probe.name} is refused`)
        assert.notDeepEqual(plain(after), plain(before), `${probe.name} alters nothing`)
        assert.ok((after?.fence ?? 0) >= (before?.fence ?? 0), `${probe.name} lowers the fence`)
      } else {
        assert.equal(reply.kind, probe.refusal, probe.name)
        assert.deepEqual(plain(after), plain(before), `${probe.name} is refused but alters the record`)
        if (probe.refusal !== 'lost') {
          const shown = reply.record as IdempotencyRecord | undefined
          assert.deepEqual(plain(shown), plain(before), `${probe.name} shows another record`)
        }
      }
    }
  },
}))
