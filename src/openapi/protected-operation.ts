/** What a mounted layer says of itself: OpenAPI documents are written from it, and `retrysafe doctor` reads it. */

/** One layer in front of a route, with its options as they are after all defaults. */
export interface ProtectedOperation {
  /** Guarded methods, in upper case. */
  readonly methods: readonly string[]
  /** Requests without a key are refused. */
  readonly required: boolean
  /** Name of the request field that carries the key. */
  readonly header: string
  readonly keyLengthMin: number
  readonly keyLengthMax: number
  readonly scope: 'principal' | 'endpoint'
  /** All callers share one scope, because `principal` is `'anonymous'`. */
  readonly anonymous: boolean
  /** How long an outcome is replayed, in milliseconds from completion. */
  readonly retentionMs: number
  /** How long after that the key is refused as expired, in milliseconds. 0: it runs as new. */
  readonly tombstoneMs: number
  readonly statuses: {
    readonly mismatch: number
    readonly inProgress: number
    readonly unknown: number
    readonly expired: number
  }
  /** Name of the field that marks a replay, or `false` for none. */
  readonly marker: string | false
  /** Effect and record commit together, and the answer leaves only after that. */
  readonly transaction: boolean
  /** Page whose `#<code>` anchors explain the errors. */
  readonly documentation: string
}

/** The member under which a layer carries its description. Global, so that copies of the package agree. */
const described: unique symbol = Symbol.for('retrysafe.protected-operation')

/** Puts a description on a layer (a middleware, a handler, a hook) and returns the layer. */
export function describeLayer<Layer extends object>(layer: Layer, operation: ProtectedOperation): Layer {
  return Object.defineProperty(layer, described, { value: operation })
}

/** The description that a layer carries, `undefined` where it is none of ours. */
export function descriptionOf(layer: unknown): ProtectedOperation | undefined {
  if ((typeof layer !== 'function' && typeof layer !== 'object') || layer === null) return undefined
  return (layer as { [described]?: ProtectedOperation })[described]
}

/** The member under which a handler says that it needs no layer. Global, as the one above. */
const keyedByItself: unique symbol = Symbol.for('retrysafe.keyed-by-itself')

/** Marks a handler that takes its key from elsewhere than a field of the client's, as a webhook does from its event. */
export function markKeyedByItself<Handler extends object>(handler: Handler): Handler {
  return Object.defineProperty(handler, keyedByItself, { value: true })
}

/** Whether a handler needs no layer in front of it, since it finds its key by itself. */
export function isKeyedByItself(handler: unknown): boolean {
  if ((typeof handler !== 'function' && typeof handler !== 'object') || handler === null) return false
  return (handler as { [keyedByItself]?: true })[keyedByItself] === true
}
