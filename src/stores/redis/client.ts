/** What the store uses of each client library, behind one face. */
import { InvalidOptionError, StoreError } from '../../core/errors.ts'
import { isNoScript } from './errors.ts'
import type { Script, Wire } from './scripts.ts'

type Argument = string | Buffer

/**
 * What the store uses of `Redis` and `Cluster` of `ioredis` and `iovalkey`. Never `call`, with which a client that
 * pipelines by itself ends its process (ioredis 6.0).
 */
export interface IoredisClient {
  evalsha(sha: string, keys: number, ...args: (string | Buffer)[]): Promise<unknown>
  eval(script: string, keys: number, ...args: (string | Buffer)[]): Promise<unknown>
  wait(replicas: number, ms: number): Promise<number>
  info(): Promise<string>
  config(get: 'GET', name: string): Promise<unknown>
  scan(
    cursor: string,
    match: 'MATCH',
    pattern: string,
    count: 'COUNT',
    keys: number,
  ): Promise<[string, string[]]>
  readonly isCluster?: boolean
  readonly options?: { readonly keyPrefix?: string | undefined }
}

/** What its types do not have: answers as octets. */
interface IoredisBuffers extends IoredisClient {
  evalshaBuffer: IoredisClient['evalsha']
  evalBuffer: IoredisClient['eval']
}

interface IoredisCluster extends IoredisClient {
  nodes(role: 'master'): readonly IoredisClient[]
}

/** What the store uses of `createClient` of `redis` (node-redis). */
export interface NodeRedisClient {
  sendCommand(args: readonly Argument[], options?: NodeRedisOptions): Promise<unknown>
}

/** What the store uses of `createCluster` of `redis` (node-redis). */
export interface NodeRedisCluster {
  sendCommand(
    firstKey: Argument | undefined,
    isReadonly: boolean | undefined,
    args: Argument[],
    options?: NodeRedisOptions,
  ): Promise<unknown>
  readonly masters: readonly object[]
  nodeClient(node: any): Promise<NodeRedisClient> | NodeRedisClient
}

/** What the store uses of `createSentinel` of `redis` (node-redis). */
export interface NodeRedisSentinel {
  sendCommand(isReadonly: boolean | undefined, args: Argument[], options?: NodeRedisOptions): Promise<unknown>
  getMasterNode(): unknown
}

interface NodeRedisOptions {
  /** Since release 5. */
  readonly typeMapping?: any
  /** Of release 4. */
  readonly returnBuffers?: any
}

/** What the store uses of `Redis` of `@upstash/redis`. */
export interface UpstashClient {
  evalsha(sha: string, keys: string[], args: string[]): Promise<unknown>
  eval(script: string, keys: string[], args: string[]): Promise<unknown>
  scan(
    cursor: string | number,
    options: { match: string; count: number },
  ): Promise<[cursor: string | number, keys: string[]]>
}

/** A client of one of the libraries. */
export type RedisClient =
  | IoredisClient
  | NodeRedisClient
  | NodeRedisCluster
  | NodeRedisSentinel
  | UpstashClient

/** A node whose keys can be walked. The next cursor, `'0'` at the end, and keys. */
export type ScanNode = (
  cursor: string,
  match: string,
  keysAtOnce: number,
) => Promise<readonly [string, readonly string[]]>

/** How many replicas a write waits for, and how long. */
export interface Replicas {
  readonly count: number
  readonly ms: number
}

/** A client library behind one face. Rejects with what the library rejects with. */
export interface RedisConnection {
  readonly library: string
  /** Keys lie on several nodes, so that one script takes one key only. */
  readonly isCluster: boolean
  readonly wire: Wire
  /** Whether `run` can wait for replicas: all goes over one connection to one master. */
  readonly waits: boolean
  /**
   * Runs a script, whole where the server does not know it. What it answers: octets.
   *
   * @param replicas that must have what it wrote before it counts
   * @throws StoreError `lost` when fewer of them have it in time
   */
  run(
    script: Script,
    keys: readonly string[],
    args: readonly Argument[],
    replicas: Replicas | undefined,
  ): Promise<readonly Buffer[]>
  /** What the server tells of itself. `undefined` where the library has no such thing. */
  readonly info: (() => Promise<string>) | undefined
  /** A setting of the server's. */
  readonly config: ((name: string) => Promise<string | undefined>) | undefined
  /** Those that may be written to. */
  nodes(): Promise<readonly ScanNode[]>
}

/** @throws InvalidOptionError when it is no client that the store knows */
export function connectionOf(client: unknown): RedisConnection {
  const given = client as Partial<
    IoredisBuffers & NodeRedisCluster & NodeRedisSentinel & UpstashClient
  > | null
  if (typeof given === 'object' && given !== null) {
    if (typeof given.evalshaBuffer === 'function') return ioredisConnection(given as IoredisBuffers)
    if (typeof given.sendCommand === 'function')
      return nodeRedisConnection(client as Partial<NodeRedisClient & NodeRedisCluster & NodeRedisSentinel>)
    if (typeof given.evalsha === 'function' && typeof given.scan === 'function')
      return upstashConnection(given as UpstashClient)
  }
  throw new InvalidOptionError(
    'client',
    'must be a client of ioredis, iovalkey, redis or @upstash/redis',
    client,
  )
}

/** How a client library sends what `runScript` needs. */
interface Sender {
  script(command: 'EVALSHA' | 'EVAL', text: string): Promise<unknown>
  wait?(replicas: Replicas): Promise<unknown>
}

/** Runs by digest first: the server keeps a script until it restarts, or is told to forget it. */
async function runScript(script: Script, replicas: Replicas | undefined, sender: Sender): Promise<unknown> {
  try {
    return await sendScript(sender, replicas, 'EVALSHA', script.sha)
  } catch (error) {
    if (!isNoScript(error)) throw error
    return await sendScript(sender, replicas, 'EVAL', script.text)
  }
}

function sendScript(
  sender: Sender,
  replicas: Replicas | undefined,
  command: 'EVALSHA' | 'EVAL',
  text: string,
): Promise<unknown> {
  const sent = sender.script(command, text)
  return replicas === undefined ? sent : acknowledged(sent, replicas, sender)
}

/** `WAIT` is of what its connection has written so far, so it is sent in the turn of the script, each time. */
async function acknowledged(sent: Promise<unknown>, replicas: Replicas, sender: Sender): Promise<unknown> {
  const [answer, reached] = await Promise.all([sent, sender.wait?.(replicas)])
  if (Number(reached) >= replicas.count) return answer
  throw new StoreError('lost', `Fewer than ${replicas.count} replicas have acknowledged a write.`)
}

function ioredisConnection(client: IoredisBuffers): RedisConnection {
  const isCluster = client.isCluster === true
  if ((client.options?.keyPrefix ?? '') !== '') {
    throw new InvalidOptionError(
      'client',
      'must have no keyPrefix, of which SCAN knows nothing: give redisStore a prefix instead',
    )
  }
  return {
    library: 'ioredis',
    isCluster,
    wire: 'octets',
    waits: !isCluster,
    run: async (script, keys, args, replicas) =>
      asOctets(
        await runScript(script, replicas, {
          script: (command, text) =>
            command === 'EVALSHA'
              ? client.evalshaBuffer(text, keys.length, ...keys, ...args)
              : client.evalBuffer(text, keys.length, ...keys, ...args),
          wait: ({ count, ms }) => client.wait(count, ms),
        }),
      ),
    info: () => client.info(),
    config: async (name) => valueOf(name, await client.config('GET', name)),
    nodes: async () =>
      (isCluster ? (client as IoredisClient as IoredisCluster).nodes('master') : [client]).map(
        (node) => (cursor, match, keysAtOnce) => node.scan(cursor, 'MATCH', match, 'COUNT', keysAtOnce),
      ),
  }
}

/** By the first octet of the protocol: bulk strings as octets. */
const bulkStringsAsOctets: NodeRedisOptions = { typeMapping: { 36: Buffer }, returnBuffers: true }

function nodeRedisConnection(
  given: Partial<NodeRedisClient & NodeRedisCluster & NodeRedisSentinel>,
): RedisConnection {
  const cluster = typeof given.nodeClient === 'function' ? (given as NodeRedisCluster) : undefined
  const sentinel = typeof given.getMasterNode === 'function' ? (given as NodeRedisSentinel) : undefined
  const single = given as NodeRedisClient
  const send = async (args: Argument[], key?: string): Promise<unknown> => {
    if (cluster !== undefined) return await cluster.sendCommand(key, false, args, bulkStringsAsOctets)
    if (sentinel !== undefined) return await sentinel.sendCommand(false, args, bulkStringsAsOctets)
    return await single.sendCommand(args, bulkStringsAsOctets)
  }
  return {
    library: 'redis',
    isCluster: cluster !== undefined,
    wire: 'octets',
    // A client of sentinels has several connections to its master, and says of none which it takes.
    waits: cluster === undefined && sentinel === undefined,
    run: async (script, keys, args, replicas) =>
      asOctets(
        await runScript(script, replicas, {
          script: (command, text) => send([command, text, `${keys.length}`, ...keys, ...args], keys[0]),
          wait: ({ count, ms }) => send(['WAIT', `${count}`, `${ms}`]),
        }),
      ),
    info: async () => asText(await send(['INFO'])),
    config: async (name) => valueOf(name, await send(['CONFIG', 'GET', name])),
    nodes: async () => {
      if (cluster === undefined) return [scanWith(send)]
      const clients = await Promise.all(
        cluster.masters.map(async (master) => await cluster.nodeClient(master)),
      )
      return clients.map((node) => scanWith((args) => node.sendCommand(args, bulkStringsAsOctets)))
    },
  }
}

function scanWith(send: (args: string[]) => Promise<unknown>): ScanNode {
  return async (cursor, match, keysAtOnce) => {
    const [next, keys] = (await send(['SCAN', cursor, 'MATCH', match, 'COUNT', `${keysAtOnce}`])) as [
      unknown,
      unknown[],
    ]
    return [asText(next), keys.map(asText)]
  }
}

/** Speaks JSON over HTTP: octets travel as hexadecimal text. */
function upstashConnection(client: UpstashClient): RedisConnection {
  return {
    library: '@upstash/redis',
    isCluster: false,
    wire: 'hex',
    waits: false,
    async run(script, keys, args) {
      const texts = args.map((arg) => (typeof arg === 'string' ? arg : arg.toString('hex')))
      const answer = await runScript(script, undefined, {
        script: (command, text) =>
          command === 'EVALSHA'
            ? client.evalsha(text, [...keys], texts)
            : client.eval(text, [...keys], texts),
      })
      if (!Array.isArray(answer) || !answer.every(isHex)) throw unreadable()
      return answer.map((hex: string) => Buffer.from(hex.slice(1), 'hex'))
    },
    info: undefined,
    config: undefined,
    nodes: async () => [
      async (cursor, match, count) => {
        const [next, keys] = await client.scan(cursor, { match, count })
        return [String(next), keys.map(String)]
      },
    ],
  }
}

function isHex(value: unknown): value is string {
  return typeof value === 'string' && value.startsWith('x')
}

function asOctets(answer: unknown): readonly Buffer[] {
  if (!Array.isArray(answer) || !answer.every((each) => Buffer.isBuffer(each))) throw unreadable()
  return answer
}

function asText(answer: unknown): string {
  return Buffer.isBuffer(answer) ? answer.toString() : String(answer)
}

/** Of the answer of CONFIG GET, which is a list, or an object in RESP3. */
function valueOf(name: string, answer: unknown): string | undefined {
  if (Array.isArray(answer)) return asText(answer[0]) === name ? asText(answer[1]) : undefined
  const found = (answer as Readonly<Record<string, unknown>> | null)?.[name]
  return found === undefined ? undefined : asText(found)
}

function unreadable(): StoreError {
  return new StoreError('unrecognised', 'The server gave no answer that can be read.')
}
