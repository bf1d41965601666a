/** `npm run playground` as a program: its address, and that it leaves nothing behind. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { Entry, Order } from '../../playground/happenings.ts'
import { startPlayground } from '../../playground/front/front.ts'
import { eventually } from '../eventually.ts'

const root = join(import.meta.dirname, '../..')

interface Program {
  readonly child: ChildProcess
  readonly exited: Promise<unknown[]>
  readonly origin: string
  /** Where it keeps its files. */
  readonly folder: string
}

async function startProgram(): Promise<Program> {
  const folder = mkdtempSync(join(tmpdir(), 'playground-'))
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', 'playground/start.ts'], {
    cwd: root,
    env: { ...process.env, PORT: '0', TMPDIR: folder, TEMP: folder },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await exited
    rmSync(folder, { recursive: true, force: true })
  })
  let text = ''
  for await (const piece of child.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    text += String(piece)
    const origin = /http:\/\/127\.0\.0\.1:\d+/.exec(text)?.[0]
    if (origin !== undefined) return { child, exited, origin, folder }
  }
  throw new Error(`The playground ended without an address: ${text}`)
}

/** Sends a POST as the page does. */
async function post(url: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
}

/** Pays for an order with a key, and returns the process that charged. */
async function chargingProcess({ origin }: Program): Promise<number> {
  const order = (await (
    await post(`${origin}/playground/orders`, { clicks: 1, fault: null })
  ).json()) as Order
  const fields = { 'X-Order': order.id, 'X-Attempt': 'a', 'X-Click': '1', 'X-Customer': 'Ada' }
  const body = { order: order.id, cents: order.cents }
  const paid = await post(`${origin}/shop/with/charges`, body, { ...fields, 'Idempotency-Key': '"k"' })
  expect(paid.status).toBe(201)
  const log = await fetch(`${origin}/playground/log`)
  const { value } = await log.body!.pipeThrough(new TextDecoderStream()).getReader().read()
  const { entries } = JSON.parse((value ?? '').replace('data: ', '')) as { entries: readonly Entry[] }
  const charged = entries.find((entry) => entry.kind === 'charged')
  expect(charged).toMatchObject({ isCommitted: false })
  return (charged as Extract<Entry, { kind: 'charged' }>).pid
}

test('Ctrl-C ends all processes and removes all files', { timeout: 60_000 }, async () => {
  const program = await startProgram()
  const pid = await chargingProcess(program)
  expect(readdirSync(program.folder)).toHaveLength(1)
  program.child.kill('SIGINT')
  expect(await program.exited).toEqual([0, null])
  expect(() => process.kill(pid, 0)).toThrow('ESRCH')
  expect(readdirSync(program.folder)).toEqual([])
})

test('no shop outlives a playground that is killed', { timeout: 60_000 }, async () => {
  const program = await startProgram()
  const pid = await chargingProcess(program)
  program.child.kill('SIGKILL')
  await program.exited
  await eventually(() => expect(() => process.kill(pid, 0)).toThrow('ESRCH'))
})

test('a port that is taken is refused before anything is started', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const { port } = server.address() as AddressInfo
  await expect(startPlayground({ port })).rejects.toMatchObject({ code: 'EADDRINUSE' })
})
