/** Slots of a cluster move from node to node while calls run: no key runs twice, and none is lost. */
import { Cluster, Redis } from 'ioredis'
import { createCluster } from 'redis'
import { expect, onTestFinished, test, vi } from 'vitest'
import { startRedisCluster } from '../../scripts/servers/redis.ts'
import { hasRedis, newPrefix } from '../servers.ts'
import { counted, type Runs } from './counted-operation.ts'

vi.setConfig({ testTimeout: 60_000 })

const keysBefore = 200
const slotsMoved = 40
/** A third of all. */
const slotsOfFirst = 5_461
const lanes = 8
const keysAtOnce = 100

interface Node {
  readonly id: string
  readonly port: number
  readonly client: Redis
}

async function nodesOf(port: number): Promise<readonly Node[]> {
  const first = new Redis(port)
  const lines = String(await first.call('CLUSTER', 'NODES'))
    .trim()
    .split('\n')
  first.disconnect()
  // The first of them is who has the first slots.
  const inOrder = lines.toSorted(
    (a, b) => Number(/ (\d+)-\d+$/.exec(a)?.[1]) - Number(/ (\d+)-\d+$/.exec(b)?.[1]),
  )
  return inOrder.map((line) => {
    const [id = '', address = ''] = line.split(' ')
    const [, nodePort] = /:(\d+)@/.exec(address) ?? []
    const client = new Redis(Number(nodePort))
    onTestFinished(() => client.disconnect())
    return { id, port: Number(nodePort), client }
  })
}

/** @param between called when the keys have moved and the slot still belongs to the old node: it answers with ASK */
async function moveSlot(
  slot: number,
  from: Node,
  to: Node,
  nodes: readonly Node[],
  between: () => Promise<unknown>,
): Promise<void> {
  await to.client.call('CLUSTER', 'SETSLOT', `${slot}`, 'IMPORTING', from.id)
  await from.client.call('CLUSTER', 'SETSLOT', `${slot}`, 'MIGRATING', to.id)
  for (;;) {
    const keys = (await from.client.call('CLUSTER', 'GETKEYSINSLOT', `${slot}`, `${keysAtOnce}`)) as string[]
    if (keys.length === 0) break
    await from.client.call('MIGRATE', '127.0.0.1', `${to.port}`, '', '0', '5000', 'KEYS', ...keys)
  }
  await between()
  for (const { client } of [to, from, ...nodes]) {
    await client.call('CLUSTER', 'SETSLOT', `${slot}`, 'NODE', to.id)
  }
}

test.skipIf(!hasRedis)('slots move while calls run on both client libraries', async () => {
  const server = await startRedisCluster()
  onTestFinished(() => server.stop())
  const nodes = await nodesOf(server.port)
  const [from, to] = nodes as [Node, Node]
  const ioredis = new Cluster([{ host: '127.0.0.1', port: server.port }])
  onTestFinished(() => ioredis.disconnect())
  const nodeRedis = createCluster({ rootNodes: [{ url: server.url }] })
  nodeRedis.on('error', () => {})
  await nodeRedis.connect()
  onTestFinished(() => nodeRedis.destroy())

  const runs: Runs = new Map()
  const prefix = newPrefix()
  const clients = [counted(ioredis, runs, { prefix }), counted(nodeRedis, runs, { prefix })] as const
  /** Each key of both clients at once: one of them runs it. */
  const askBoth = async (key: string): Promise<void> => {
    const answers = await Promise.all(clients.map(({ ask }) => ask(key)))
    expect(answers).toEqual([`${key}, run 1`, `${key}, run 1`])
  }
  const before = Array.from({ length: keysBefore }, (_, at) => `before-${at}`)
  await Promise.all(before.map(askBoth))

  let moving = true
  let asked = 0
  const load = Array.from({ length: lanes }, async () => {
    while (moving) {
      const number = ++asked
      await askBoth(`during-${number}`)
      await askBoth(before[(number * 7) % keysBefore] as string)
    }
  })
  const slotOf = async (key: string): Promise<number> =>
    Number(await from.client.call('CLUSTER', 'KEYSLOT', `${prefix}${clients[0].idOf(key)}`))
  const slots = Map.groupBy(
    await Promise.all(before.map(async (key) => ({ key, slot: await slotOf(key) }))),
    ({ slot }) => slot,
  )
  const ofFrom = [...slots].filter(([slot]) => slot < slotsOfFirst).slice(0, slotsMoved)
  for (const [slot, keys] of ofFrom) {
    await moveSlot(slot, from, to, nodes, () => Promise.all(keys.map(({ key }) => askBoth(key))))
  }
  moving = false
  await Promise.all(load)

  const all = [...before, ...Array.from({ length: asked }, (_, at) => `during-${at + 1}`)]
  await Promise.all(all.map(askBoth))
  expect(runs.size).toBe(all.length)
  expect([...runs.values()].filter((count) => count > 1)).toEqual([])
  // What was asked while it was between two nodes was sent on.
  expect(await from.client.info('errorstats')).toMatch(/errorstat_ASK:count=[1-9]/)
})
