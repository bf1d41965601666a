/** Where connections of a run are cut: at what a client sends to write, and at what makes it last. */
import { scriptsFor } from '../../stores/redis/scripts.ts'
import { type FaultProxy, startFaultProxy } from '../../verification/fault-proxy.ts'
import type { Dialect } from './protocol.ts'

type Server = Exclude<Dialect, 'sqlite'>

const usualPorts: Readonly<Record<Server, number>> = { postgres: 5432, mysql: 3306, redis: 6379 }

/** A proxy in front of the server of an address. */
export async function proxyTo(dialect: Server, address: string): Promise<FaultProxy> {
  const { hostname, port } = new URL(address)
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  return await startFaultProxy({ target: { host, port: port === '' ? usualPorts[dialect] : Number(port) } })
}

/** What a client sends to write an effect or to begin, and what it sends to make it last. */
interface Sent {
  readonly name: string
  /** Any of these octets. */
  readonly octets: readonly string[]
}

const sql = { first: { name: 'INSERT', octets: ['INSERT'] }, last: { name: 'COMMIT', octets: ['COMMIT'] } }
const redisScripts = scriptsFor('octets', false)
const sentTo: Readonly<Record<Server, { readonly first: Sent; readonly last: Sent }>> = {
  postgres: sql,
  mysql: sql,
  // Scripts are sent by their digests.
  redis: {
    first: { name: 'claim', octets: [redisScripts.claim.one.sha, redisScripts.claim.many.sha] },
    last: { name: 'settlement', octets: [redisScripts.settle.one.sha, redisScripts.settle.many.sha] },
  },
}

/** Something that happens to a run. */
export type Fault = () => Promise<void>

/** The faults that hit a connection where a client sends what matters, by name. */
export function cutsOf(
  dialect: Server,
  proxy: FaultProxy,
  on: (name: string, act: () => unknown) => Fault,
): Readonly<Record<string, Fault>> {
  const { first, last } = sentTo[dialect]
  const fault = (
    words: string,
    sent: Sent,
    act: (octets: string) => void,
  ): Readonly<Record<string, Fault>> => {
    const name = `${words} ${sent.name}`
    return { [name]: on(name, () => sent.octets.forEach(act)) }
  }
  return {
    ...fault('cut before', last, (octets) => proxy.cutOn(octets, 'before', 3)),
    ...fault('cut at', last, (octets) => proxy.cutOn(octets, 'sent', 3)),
    ...fault('cut after', last, (octets) => proxy.cutOn(octets, 'after', 3)),
    ...fault('cut after', first, (octets) => proxy.cutOn(octets, 'after', 2)),
    ...fault('held after', last, (octets) => proxy.holdOn(octets, 'after', 1)),
  }
}
