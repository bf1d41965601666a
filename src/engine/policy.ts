/** The durations and choices of one operation, checked once, at construction. */
import { type Duration, type DurationBounds, toMilliseconds } from '../core/duration.ts'
import { InvalidOptionError } from '../core/errors.ts'
import type { OnUnknown } from '../core/transitions.ts'

/** Options that the instance sets for all operations, and each operation for itself. */
export interface PolicyOptions {
  /** How long an outcome is replayed, counted from completion. Default `'24h'`. */
  readonly retention?: Duration
  /** How long a holder that says nothing keeps the key; renewed every third. Default `'30s'`. */
  readonly lease?: Duration
  /**
   * How long a handler may keep its lease by renewal; then its signal aborts and the lease runs out. A lease that is
   * at least as long is never renewed. Default `'15m'`.
   */
  readonly timeout?: Duration
  /** How long after its retention a key is refused as expired instead of run. Default 0: it runs as new. */
  readonly tombstone?: Duration
  /** How long a released key stays bound to its request. Default: as `retention`. */
  readonly releaseMarker?: Duration
  /**
   * How long a duplicate waits for the attempt in progress before it is refused. Default 0 over HTTP (refuse
   * at once), `'10s'` for `operation().run`.
   */
  readonly wait?: Duration
  /**
   * What becomes of a key whose attempt ended without a known outcome: `hold` (default) refuses it until it is
   * reconciled, `rerun` runs it again, `reconcile` asks the operation's own function.
   */
  readonly onUnknown?: OnUnknown
}

/** `PolicyOptions`, resolved to milliseconds. */
export interface Policy {
  readonly retentionMs: number
  readonly leaseMs: number
  readonly timeoutMs: number
  readonly tombstoneMs: number
  readonly releaseMarkerMs: number
  readonly waitMs: number
  readonly onUnknown: OnUnknown
}

export const defaultPolicy: Policy = {
  retentionMs: 24 * 3_600_000,
  leaseMs: 30_000,
  timeoutMs: 15 * 60_000,
  tombstoneMs: 0,
  releaseMarkerMs: 24 * 3_600_000,
  waitMs: 0,
  onUnknown: 'hold',
}

const leaseBounds = { min: '100ms', max: '24h' } as const
const waitBounds = { max: '10m' } as const

/**
 * Checks options and fills the rest from `base`.
 *
 * @throws InvalidOptionError naming option, rule and value
 */
export function resolvePolicy(options: PolicyOptions, base: Policy = defaultPolicy): Policy {
  const pick = (name: keyof PolicyOptions & string, fallback: number, bounds?: DurationBounds) => {
    const value = options[name] as Duration | undefined
    return value === undefined ? fallback : toMilliseconds(name, value, bounds)
  }
  const retentionMs = pick('retention', base.retentionMs, { min: '1ms' })
  const leaseMs = pick('lease', base.leaseMs, leaseBounds)
  if (options.retention !== undefined && options.lease !== undefined && leaseMs >= retentionMs) {
    throw new InvalidOptionError('lease', 'must be shorter than retention', options.lease)
  }
  const onUnknown = options.onUnknown ?? base.onUnknown
  if (onUnknown !== 'hold' && onUnknown !== 'rerun' && onUnknown !== 'reconcile') {
    throw new InvalidOptionError('onUnknown', "must be 'hold', 'rerun' or 'reconcile'", onUnknown)
  }
  return {
    retentionMs,
    leaseMs,
    timeoutMs: pick('timeout', base.timeoutMs, { min: '1ms' }),
    tombstoneMs: pick('tombstone', base.tombstoneMs),
    releaseMarkerMs: pick(
      'releaseMarker',
      options.retention === undefined ? base.releaseMarkerMs : retentionMs,
    ),
    waitMs: pick('wait', base.waitMs, waitBounds),
    onUnknown,
  }
}

/** Names of `PolicyOptions`, for `refuseUnknownOptions`. */
export const policyOptionNames: readonly (keyof PolicyOptions)[] = [
  'retention',
  'lease',
  'timeout',
  'tombstone',
  'releaseMarker',
  'wait',
  'onUnknown',
]
