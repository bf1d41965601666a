/** A schema of charges that both GraphQL servers of the tests run, and requests to them. */
import { createRequire } from 'node:module'
import { idempotencyOf, idempotentDirective } from '../../src/rpc/yoga.ts'
import { gate, type Gate } from './serving.ts'

// Vitest would load the package's other format, whose errors are foreign to the servers.
const { GraphQLError } = createRequire(import.meta.url)('graphql') as typeof import('graphql')

export const typeDefs: string = `
  ${idempotentDirective}
  type Charge { id: Int! amount: Int! note: String at: String! broken: String flaw: String! }
  type Query { charges: Int! }
  type Mutation {
    charge(amount: Int!, requestId: String): Charge
    mustCharge(amount: Int!): Charge!
    decline(code: String, status: Int): Charge
    mustDecline: Charge!
    crash: Charge
    slow(amount: Int!): Charge
  }
`

export interface Shop {
  readonly effects: string[]
  readonly fences: (number | undefined)[]
  /** Closed to `slow` until it is opened. */
  readonly gate: Gate
  readonly resolvers: Record<string, Record<string, (...given: never[]) => unknown>>
}

/** A charge as a class: what a resolver returns may be no plain data. */
class Charge {
  readonly id: number
  readonly amount: number
  constructor(id: number, amount: number) {
    this.id = id
    this.amount = amount
  }
  at(): string {
    return new Date(this.id * 1000).toISOString()
  }
  broken(): never {
    throw new Error('The notes are away.')
  }
  flaw(): never {
    throw new Error('The notes are away.')
  }
}

export function shop(): Shop {
  const effects: string[] = []
  const fences: (number | undefined)[] = []
  const waiting = gate()
  const charge = (_: unknown, { amount }: { amount: number }, context: object, info: never): Charge => {
    effects.push(`charge ${amount}`)
    fences.push(idempotencyOf(context, info)?.fence)
    return new Charge(effects.length, amount)
  }
  const decline = (code = 'DECLINED', status?: number): never => {
    effects.push('decline')
    const http = status === undefined ? {} : { http: { status } }
    throw new GraphQLError(`Declined (${effects.length})`, { extensions: { code, ...http } })
  }
  const resolvers = {
    Query: {
      charges: () => {
        effects.push('read')
        return effects.length
      },
    },
    Mutation: {
      charge,
      mustCharge: charge,
      decline: (_: unknown, { code, status }: { code?: string; status?: number }) => decline(code, status),
      mustDecline: () => decline(),
      crash: () => {
        effects.push('crash')
        throw new Error('The database is away.')
      },
      slow: async (_: unknown, { amount }: { amount: number }) => {
        effects.push('slow')
        await waiting.opened
        return new Charge(effects.length, amount)
      },
    },
  }
  return { effects, fences, gate: waiting, resolvers }
}

export interface Sent {
  readonly query: string
  readonly variables?: Record<string, unknown>
  readonly operationName?: string
}

export interface Received {
  readonly status: number
  readonly text: string
  readonly replayed: boolean
  readonly json: {
    readonly data?: Record<string, unknown> | null
    readonly errors?: {
      readonly message: string
      readonly path?: unknown[]
      readonly extensions?: Record<string, unknown>
    }[]
  }
}

/** Sends an operation, or a batch of them. */
export async function send(
  url: string,
  body: Sent | readonly Sent[],
  headers: Record<string, string> = {},
): Promise<Received> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'X-Tenant': 't1', ...headers },
    body: JSON.stringify(body),
  })
  const text = await response.text()
  return {
    status: response.status,
    text,
    replayed: response.headers.get('idempotent-replayed') === 'true',
    json: JSON.parse(text) as Received['json'],
  }
}

/** The codes of the errors of a result. */
export function codesOf({ json }: Received): unknown[] {
  return (json.errors ?? []).map(({ extensions }) => extensions?.['code'])
}
