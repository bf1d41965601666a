/** What a run has sent, seen and done, with times of one clock. */
import type { Client, GiveUp, Seen } from './client.ts'

/** A key, and the request that it stands for. */
export interface ChaosKey {
  readonly key: string
  readonly request: string
}

export interface Call extends ChaosKey {
  readonly call: number
  readonly process: string
  /** Another request than that of the key. */
  readonly isOther: boolean
  readonly invokedAt: number
  endedAt: number
  seen: Seen
}

export interface FaultDone {
  readonly at: number
  readonly fault: string
  readonly target: string
}

const noAnswer: Seen = { kind: 'lost', code: 'no-end' }

export class RunLog {
  readonly keys: ChaosKey[] = []
  readonly calls: Call[] = []
  readonly faults: FaultDone[] = []
  /** Requests that have no end. */
  open: number = 0
  quietAt: number = Number.POSITIVE_INFINITY

  fault(fault: string, target: string): void {
    this.faults.push({ at: performance.now(), fault, target })
  }

  quiet(): void {
    this.quietAt = performance.now()
  }

  /** Sends a request, and writes down what came of it. */
  async send(client: Client, process: string, key: ChaosKey, how: SendingHow = {}): Promise<Call> {
    const { isOther = false, giveUp } = how
    const request = isOther ? otherRequestOf(key) : key.request
    const call: Call = {
      call: this.calls.length + 1,
      key: key.key,
      request,
      process,
      isOther,
      invokedAt: performance.now(),
      endedAt: Number.POSITIVE_INFINITY,
      seen: noAnswer,
    }
    this.calls.push(call)
    this.open += 1
    call.seen = await client.send({ key: key.key, request, giveUp })
    call.endedAt = performance.now()
    this.open -= 1
    return call
  }

  faultCounts(): Record<string, number> {
    const counts: Record<string, number> = {}
    for (const { fault } of this.faults) counts[fault] = (counts[fault] ?? 0) + 1
    return counts
  }
}

export interface SendingHow {
  readonly isOther?: boolean
  readonly giveUp?: GiveUp | undefined
}

function otherRequestOf({ request }: ChaosKey): string {
  return `${request}-other`
}
