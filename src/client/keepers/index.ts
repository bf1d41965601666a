/** Where the keys of unfinished calls are kept, so that a reload, another tab or a new process sends the same one. */

/** A call as it was first sent. Credentials are not part of it. */
export interface KeptCall {
  readonly intent: string
  readonly key: string
  readonly method: string
  readonly url: string
  readonly contentType: string | null
  readonly body: string | Uint8Array | undefined
  /** Milliseconds since 1970. */
  readonly createdAt: number
}

/**
 * Keeps one call for each intent, from before it is first sent until its outcome is known.
 *
 * `keep` is atomic: of two callers with one intent and one request at once, both get the same call.
 */
export interface KeyKeeper {
  /** Keeps `fresh`, or gives back what is kept for its intent if that is the same request (`isSameRequest`). */
  keep(fresh: KeptCall): Promise<{ readonly call: KeptCall; readonly isNew: boolean }>
  /** The outcome is known: the call goes, unless its intent has another one by now. */
  settle(call: KeptCall): Promise<void>
  /** What is kept, oldest first. */
  list(): Promise<readonly KeptCall[]>
}

/** Whether both would send the same octets to the same place. */
export function isSameRequest(one: KeptCall, other: KeptCall): boolean {
  return (
    one.method === other.method &&
    one.url === other.url &&
    one.contentType === other.contentType &&
    isSameBody(one.body, other.body)
  )
}

function isSameBody(one: KeptCall['body'], other: KeptCall['body']): boolean {
  if (typeof one === 'string' || typeof other === 'string' || one === undefined || other === undefined) {
    return one === other
  }
  return one.length === other.length && one.every((octet, at) => octet === other[at])
}

/** Keeps calls for as long as this page or process lives. The oldest goes when there are more than `callsMax`. */
export function memoryKeeper({ callsMax = 1_000 }: { readonly callsMax?: number } = {}): KeyKeeper {
  const calls = new Map<string, KeptCall>()
  return {
    async keep(fresh) {
      const kept = calls.get(fresh.intent)
      if (kept !== undefined && isSameRequest(kept, fresh)) return { call: kept, isNew: false }
      calls.set(fresh.intent, fresh)
      if (calls.size > callsMax) calls.delete(calls.keys().next().value as string)
      return { call: fresh, isNew: true }
    },
    async settle({ intent, key }) {
      if (calls.get(intent)?.key === key) calls.delete(intent)
    },
    async list() {
      return [...calls.values()]
    },
  }
}
