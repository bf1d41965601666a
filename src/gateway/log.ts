/** What the gateway says while it runs: one JSON line an event, without key, body, principal, path or secret. */

export interface GatewayEvent {
  readonly event:
    | 'replayed'
    | 'refused'
    | 'unprotected'
    | 'upstream-failed'
    | 'failed'
    | 'store-failed'
    | 'draining'
    | 'closed'
  readonly method?: string
  /** The pattern that covers the request, never its path. */
  readonly route?: string
  readonly status?: number
  /** Why, as a stable word. */
  readonly code?: string
}

export type GatewayLog = (event: GatewayEvent) => void

/** Writes events to the standard output. */
export const logToStandardOutput: GatewayLog = (event) => {
  process.stdout.write(`${JSON.stringify({ time: new Date().toISOString(), ...event })}\n`)
}
