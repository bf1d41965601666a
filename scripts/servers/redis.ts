import { connect } from 'node:net'
import { Redis } from 'ioredis'
import {
  endServer,
  freePort,
  freePorts,
  newFolder,
  requireProgram,
  type RunningServer,
  spawnServer,
  untilAnswers,
} from './process.ts'

const folders = ['/usr/bin', '/usr/local/bin']
const slots = 16_384
const clusterNodes = 3

/** The program of the server, which is installed first where that is possible. @throws Error */
export function redisProgram(): string {
  return requireProgram('redis-server', folders, 'redis-server')
}

/** Starts Redis on a free port of the loopback; it saves each write into a file that is synced every second. */
export async function startRedis(): Promise<RunningServer> {
  return await startNode([])
}

/** Starts a cluster of three masters, each with a third of the slots. The URL is that of one of them. */
export async function startRedisCluster(): Promise<RunningServer> {
  const busPorts = await freePorts(clusterNodes)
  const nodes = await Promise.all(
    busPorts.map((bus) =>
      startNode(['--cluster-enabled', 'yes', '--cluster-port', `${bus}`, '--cluster-node-timeout', '2000']),
    ),
  )
  const stop = async (): Promise<void> => {
    await Promise.all(nodes.map((node) => node.stop()))
  }
  const [first] = nodes as [RunningServer]
  const clients = nodes.map(({ port }) => new Redis(port))
  try {
    for (const [at, client] of clients.entries()) {
      const [from, to] = [at, at + 1].map((edge) => Math.round((slots * edge) / clusterNodes))
      await client.call('CLUSTER', 'ADDSLOTSRANGE', `${from}`, `${(to as number) - 1}`)
      await client.call('CLUSTER', 'SET-CONFIG-EPOCH', `${at + 1}`)
      if (at > 0) await client.call('CLUSTER', 'MEET', '127.0.0.1', `${first.port}`, `${busPorts[0]}`)
    }
    await Promise.all(clients.map(isWhole))
    return { ...first, stop }
  } catch (error) {
    await stop()
    throw error
  } finally {
    for (const client of clients) client.disconnect()
  }
}

const attemptsMax = 150
const attemptMs = 100

/** Until this node knows who has each slot. */
async function isWhole(client: Redis): Promise<void> {
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const info = String(await client.call('CLUSTER', 'INFO'))
    if (info.includes('cluster_state:ok') && info.includes(`cluster_size:${clusterNodes}`)) return
    await new Promise((resolve) => setTimeout(resolve, attemptMs))
  }
  throw new Error('The nodes of the cluster did not find each other.')
}

async function startNode(settings: readonly string[]): Promise<RunningServer> {
  const program = redisProgram()
  const folder = newFolder('redis', undefined)
  const port = await freePort()
  const child = spawnServer(
    program,
    [
      '--port',
      `${port}`,
      '--bind',
      '127.0.0.1',
      '--dir',
      folder,
      '--save',
      '',
      '--appendonly',
      'yes',
      ...settings,
    ],
    undefined,
    'KILL',
  )
  await untilAnswers(child, () => pingRedis(port))
  return { url: `redis://127.0.0.1:${port}`, port, stop: () => endServer(child, folder) }
}

/** Whether it answers, also where it asks for a password. @throws Error */
export async function pingRedis(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  try {
    socket.end('PING\r\n')
    const answer = Buffer.concat(await socket.toArray()).toString()
    if (!/^(\+PONG|-NOAUTH)/.test(answer)) throw new Error(`The server answered ${answer}`)
  } finally {
    socket.destroy()
  }
}
