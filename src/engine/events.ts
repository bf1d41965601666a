/**
 * What the engine reports, over `node:diagnostics_channel`: one channel `retrysafe:<event>` for each event.
 * Nothing is made when nobody listens. No event holds a key, a principal, an input or an outcome.
 */
import type { Channel } from 'node:diagnostics_channel'
import type { RecordId } from '../core/record.ts'
import type { NotRun, OutcomeAge } from './attempt.ts'

interface OperationEvent {
  readonly id: RecordId
  readonly operation: string
}

/** Events by name, with what each carries. */
export interface EngineEvents {
  /** The right to run was won. `fence` > 1 after a change of holder. */
  claimed: OperationEvent & { readonly fence: number }
  /** A stored outcome was given instead of running. No age where the caller had waited for the attempt itself. */
  replayed: OperationEvent & Partial<OutcomeAge>
  mismatch: OperationEvent
  'in-progress': OperationEvent & { readonly retryAfterMs: number }
  expired: OperationEvent
  /** A key was refused because an earlier outcome is unknown. */
  'unknown-held': OperationEvent
  completed: OperationEvent & { readonly fence: number; readonly durationMs: number }
  released: OperationEvent & { readonly fence: number; readonly durationMs: number }
  /** An attempt ended with its effect unknown. */
  unknown: OperationEvent & { readonly fence: number; readonly durationMs: number }
  /** A holder lost its record to another one. */
  'lease-lost': OperationEvent & { readonly fence: number }
  /** COMMIT got no answer; `applied` tells what the record said once the fence was raised. */
  'unknown-commit': OperationEvent & { readonly applied: boolean | 'undecided' }
  /** A verb of the store failed, also where a retry then worked. */
  'store-error': { readonly verb: string; readonly error: unknown }
  /** A request was let through without protection because the store was down and its options say so. */
  unprotected: { readonly operation: string }
  swept: { readonly removed: number; readonly entombed: number }
}

export type EngineEventName = keyof EngineEvents

/** Asked for, not imported: bundlers for runtimes without it refuse the import. There, nobody can listen. */
const diagnostics = globalThis.process?.getBuiltinModule?.('node:diagnostics_channel')

const channels = new Map<EngineEventName, Channel>()

function channelOf(name: EngineEventName): Channel | undefined {
  let found = channels.get(name)
  if (found === undefined && diagnostics !== undefined) {
    found = diagnostics.channel(`retrysafe:${name}`)
    channels.set(name, found)
  }
  return found
}

/** Publishes an event; `make` is called only when somebody listens. */
export function report<Name extends EngineEventName>(name: Name, make: () => EngineEvents[Name]): void {
  const target = channelOf(name)
  if (target?.hasSubscribers === true) target.publish(make())
}

/**
 * Listens to one event of every instance in this process.
 *
 * @returns a function that ends the subscription
 * @example
 * const stop = onEvent('replayed', ({ operation }) => replays.inc({ operation }))
 */
export function onEvent<Name extends EngineEventName>(
  name: Name,
  listener: (event: EngineEvents[Name]) => void,
): () => void {
  const target = channelOf(name)
  const handler = (message: unknown): void => listener(message as EngineEvents[Name])
  target?.subscribe(handler)
  return () => {
    target?.unsubscribe(handler)
  }
}

/** Publishes the event of a call that did not run. */
export function reportNotRun(operation: OperationEvent, end: NotRun): void {
  const head = { id: operation.id, operation: operation.operation }
  switch (end.kind) {
    case 'replay':
      return report('replayed', () => ({ ...head, ...end.age }))
    case 'mismatch':
      return report('mismatch', () => head)
    case 'in-progress':
      return report('in-progress', () => ({ ...head, retryAfterMs: end.retryAfterMs }))
    case 'unknown':
      return report('unknown-held', () => head)
    case 'expired':
      return report('expired', () => head)
    default:
      return end satisfies never
  }
}
