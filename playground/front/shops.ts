/** The shops' processes: one that works and one that stands by, as behind a load balancer. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { FreezeMessage, ShopMessage } from '../shop/messages.ts'

const count = 2
/** One route of the shop is unprotected on purpose. */
const flags = ['--disable-warning=ExperimentalWarning', '--disable-warning=RETRYSAFE_UNPROTECTED']
const unbuilt = new URL('../../scripts/unbuilt.ts', import.meta.url).href
const program = join(import.meta.dirname, '../shop/shop.ts')

/** One process. `port` is known once `ready` has resolved. */
export class Shop {
  readonly #child: ChildProcess
  readonly ready: Promise<unknown>
  readonly exited: Promise<unknown>
  readonly #iceFile: string
  #thawing: NodeJS.Timeout | undefined
  port = 0
  isFrozen = false
  isGone = false

  constructor(folder: string, onMessage: (message: ShopMessage) => void) {
    this.#child = spawn(process.execPath, [...flags, '--import', unbuilt, program, folder], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    this.#iceFile = join(folder, `ice-${this.pid}`)
    const ready = Promise.withResolvers<void>()
    this.ready = ready.promise
    this.exited = once(this.#child, 'exit').finally(() => {
      this.isGone = true
      ready.resolve()
    })
    this.#child.on('message', (message: ShopMessage) => {
      if (message.type === 'ready') {
        this.port = message.port
        ready.resolve()
      } else onMessage(message)
    })
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** Has the process stand still until `thaw`, or for as long as `msMax`. */
  freeze(msMax: number): void {
    this.isFrozen = true
    this.#thawing = setTimeout(() => this.thaw(), msMax).unref()
    writeFileSync(this.#iceFile, '')
    this.#child.send({ type: 'freeze', file: this.#iceFile } satisfies FreezeMessage)
  }

  thaw(): void {
    this.isFrozen = false
    clearTimeout(this.#thawing)
    rmSync(this.#iceFile, { force: true })
  }

  /** SIGKILL: nothing of the process gets to run once more. */
  async kill(): Promise<void> {
    this.isGone = true
    this.#child.kill('SIGKILL')
    await this.exited
    rmSync(this.#iceFile, { force: true })
  }
}

export class Shops {
  readonly #folder: string
  readonly #onMessage: (shop: Shop, message: ShopMessage) => void
  #shops: Shop[] = []
  #isClosed = false

  constructor(folder: string, onMessage: (shop: Shop, message: ShopMessage) => void) {
    this.#folder = folder
    this.#onMessage = onMessage
    while (this.#shops.length < count) this.#add()
  }

  #add(): void {
    const shop: Shop = new Shop(this.#folder, (message) => this.#onMessage(shop, message))
    this.#shops.push(shop)
    // However a shop dies, another one takes its place; one that could not even start would not start again either.
    void shop.exited.then(() => {
      this.#shops = this.#shops.filter((each) => each !== shop)
      if (!this.#isClosed && shop.port > 0) this.#add()
    })
  }

  /** All can be called. @throws where one ended before it could */
  async ready(): Promise<void> {
    await Promise.all(this.#shops.map((shop) => shop.ready))
    if (this.#shops.length < count) throw new Error('A shop of the playground did not start; see above.')
  }

  get pids(): number[] {
    return this.#shops.map((shop) => shop.pid)
  }

  /** The first that is alive and does not stand still, as soon as it can be called. */
  async pick(): Promise<Shop | undefined> {
    const shop = this.#shops.find((each) => !each.isGone && !each.isFrozen)
    await shop?.ready
    return shop?.isGone === true ? undefined : shop
  }

  thawAll(): void {
    for (const shop of this.#shops) shop.thaw()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all(this.#shops.map((shop) => shop.kill()))
  }
}
