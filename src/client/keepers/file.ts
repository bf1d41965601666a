/**
 * Calls in a folder, one file for each state of a call, shared by the processes of one host.
 *
 * A file's name is the digest of the intent and a generation, and what is in it never changes. The highest generation
 * counts. A new one is written under another name, synced, and then linked to its own: the link is made once, whoever
 * else wants to, which is what makes `keep` atomic without a lock that a killed process could leave behind. A call
 * that is done gets one more generation that says so, and stays for a minute at least, so that no number is given
 * twice while a slow process still goes by what it read. A process that is killed may leave lower generations behind,
 * so an intent is always removed from its lowest one up.
 *
 *   <digest>.1   kept            the call, durable
 *   <digest>.2   kept, edited    durable; .1 is removed
 *   <digest>.3   shared          durable; .2 is removed
 *   <digest>.4   done            .3 is removed; .4 itself later
 */
import { createHash, randomUUID } from 'node:crypto'
import { link, mkdir, open, readdir, readFile, stat, unlink } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { InvalidOptionError } from '../../core/errors.ts'
import { entryOf, entryText } from './entry.ts'
import {
  afterEnd,
  afterShare,
  checkSize,
  type Entry,
  type Found,
  foundOf,
  guarded,
  isOpen,
  isOpenCall,
  isOver,
  KeeperError,
  type KeeperOptions,
  type Kept,
  type KeptCall,
  type KeyKeeper,
  readLimits,
  roomAmong,
  unsettled,
  verdictOn,
} from './keeper.ts'

export {
  type Found,
  KeeperError,
  type KeeperOptions,
  type Kept,
  type KeptCall,
  type KeyKeeper,
} from './keeper.ts'

export interface FileKeeperOptions extends KeeperOptions {
  /** Made when it is not there, for this user alone. On a local disk, and for nothing else. */
  readonly folder: string
}

/** What the folder has of an intent. */
interface Generations {
  readonly digest: string
  /** The lowest first. */
  readonly numbers: readonly number[]
}

interface Looked extends Generations {
  readonly entry: Entry | undefined
}

interface Seen extends Generations {
  /** In the folder. */
  readonly files: number
}

/**
 * Keeps calls in a folder until their outcome is known, for jobs and scripts: across crashes of the process and of the
 * machine, and for several processes at once. The bodies lie in the files as they are.
 *
 * @throws InvalidOptionError
 * @example
 * const keeper = fileKeeper({ folder: './unfinished-calls' })
 */
export function fileKeeper(options: FileKeeperOptions): KeyKeeper {
  const limits = readLimits('fileKeeper', options, ['folder'])
  if (typeof options.folder !== 'string' || options.folder === '') {
    throw new InvalidOptionError('folder', 'must be the path of a folder', options.folder)
  }
  const folder = resolve(options.folder)
  let keeps = 0
  const pathOf = (digest: string, generation: number): string => join(folder, `${digest}.${generation}`)

  /** Made anew where it was removed. */
  async function names(): Promise<string[]> {
    const there = await readdir(folder).catch(absent)
    if (there !== undefined) return there
    await makeFolder(folder)
    return await readdir(folder)
  }

  /** Of one intent, from the names alone. */
  async function generationsOf(digest: string): Promise<Seen> {
    const files = await names()
    const own = files.filter((file) => file.startsWith(digest))
    return {
      digest,
      numbers: inOrder(own.map((file) => Number(fileName.exec(file)?.[2]))),
      files: files.length,
    }
  }

  /** Of each intent. */
  async function generations(): Promise<Generations[]> {
    const found = new Map<string, number[]>()
    for (const file of await names()) {
      const [, digest, generation] = fileName.exec(file) ?? []
      if (digest === undefined) continue
      const numbers = found.get(digest) ?? []
      numbers.push(Number(generation))
      found.set(digest, numbers)
    }
    return Array.from(found, ([digest, numbers]) => ({ digest, numbers: inOrder(numbers) }))
  }

  /**
   * The newest state. `undefined` where there is none, or one that cannot be read: its number is taken all the same.
   * `'moved'` where another process has added one meanwhile.
   */
  async function read({ digest, numbers }: Generations): Promise<Entry | 'moved' | undefined> {
    const generation = numbers.at(-1)
    if (generation === undefined) return undefined
    const text = await readFile(pathOf(digest, generation), 'utf8').catch(absent)
    if (text === undefined) return 'moved'
    try {
      return entryOf(text)
    } catch (error) {
      limits.onDamaged(error as KeeperError)
      return undefined
    }
  }

  async function look(digest: string): Promise<Seen & Looked> {
    for (let round = 0; round < roundsMax; round++) {
      const seen = await generationsOf(digest)
      const entry = await read(seen)
      if (entry !== 'moved') return { ...seen, entry }
    }
    throw outrun()
  }

  async function readAll(): Promise<Looked[]> {
    const all: Looked[] = []
    for (const each of await generations()) {
      const entry = await read(each)
      all.push(entry === 'moved' ? await look(each.digest) : { ...each, entry })
    }
    return all.filter(({ numbers }) => numbers.length > 0)
  }

  /** Removes an intent. What a crash has left below the newest state must not become the newest. */
  async function remove({ digest, numbers }: Generations): Promise<void> {
    for (const number of numbers) await unlink(pathOf(digest, number)).catch(absent)
  }

  /** Adds a generation to those that were seen, and removes these. `false` where another process was first. */
  async function add({ digest, numbers }: Generations, entry: Entry): Promise<boolean> {
    const generation = (numbers.at(-1) ?? 0) + 1
    // That a call is done may be lost with the machine's power: its key is then sent once more, and replayed.
    const isDurable = isOpen(entry)
    const path = pathOf(digest, generation)
    const draft = join(folder, `${randomUUID()}.draft`)
    try {
      await writeNew(draft, entryText(entry), isDurable)
      try {
        await link(draft, path)
      } catch (error) {
        if (codeOf(error) === 'EEXIST') return false
        throw error
      }
    } finally {
      await unlink(draft).catch(() => {})
    }
    let others: readonly number[]
    try {
      if (isDurable) await syncFolder(folder)
      others = (await generationsOf(digest)).numbers
    } catch (error) {
      // Whoever is told that it was not written must not find it written. What was there before still is.
      await unlink(path).catch(() => {})
      throw error
    }
    if (others.at(-1) !== generation) {
      // A newer one is there, also where what this went by was removed before the link was made; or the folder is gone.
      await unlink(path).catch(absent)
      return false
    }
    // What stays of them counts no more, and goes with the intent.
    await remove({ digest, numbers: others.slice(0, -1) }).catch(() => {})
    return true
  }

  /** Makes room for one call besides that of `digest`, and removes what crashed processes left. */
  async function makeRoom({ digest, files }: Seen): Promise<void> {
    // Only then is every file read.
    if (files < limits.callsMax && keeps++ % keepsBetweenCleanings !== 0) return
    const others = (await readAll()).filter((each) => each.digest !== digest)
    const whole = others.flatMap(({ entry, ...each }) => (entry === undefined ? [] : [{ ...each, ...entry }]))
    for (const each of roomAmong(whole, limits)) {
      const isFresh = limits.now() - (each.doneAt ?? each.call.createdAt) < numbersStayMs
      if (!isFresh) await remove(each)
      // Its call goes now, as everywhere; its number stays for as long as somebody may be about to take it.
      else if (!isOver(each, limits)) await add(each, goneOf(each, limits.now()))
    }
    for (const { entry, ...each } of others) {
      const path = pathOf(each.digest, each.numbers.at(-1) as number)
      // By then nobody may send it again, whatever it was.
      if (entry === undefined && (await isOlder(path, Math.max(limits.horizonMs, numbersStayMs))))
        await remove(each)
    }
    for (const file of await names()) {
      const path = join(folder, file)
      if (file.endsWith('.draft') && (await isOlder(path, draftsStayMs))) await unlink(path).catch(absent)
    }
  }

  /**
   * Looks at an intent and writes what comes of it, until no other process is first.
   *
   * @param next gives the entry to write, and the answer when that is written
   */
  async function change<Answer>(
    intent: string,
    next: (entry: Entry | undefined, seen: Seen) => Promise<Change<Answer>> | Change<Answer>,
  ): Promise<Answer> {
    const digest = digestOf(intent)
    for (let round = 0; round < roundsMax; round++) {
      const seen = await look(digest)
      const { write, answer } = await next(seen.entry, seen)
      if (write === undefined || write === seen.entry || (await add(seen, write))) return answer
    }
    throw outrun()
  }

  const keep = (fresh: KeptCall): Promise<Kept> =>
    change<Kept>(fresh.intent, async (entry, seen) => {
      checkSize(fresh, limits)
      const verdict = verdictOn(entry, fresh, limits)
      if (entry !== undefined && verdict === 'repeat') {
        return { write: afterShare(entry), answer: { call: entry.call, isNew: false } }
      }
      await makeRoom(seen)
      const replaced = verdict === 'replace' ? entry?.call : undefined
      return { write: { call: fresh }, answer: { call: fresh, isNew: true, replaced } }
    })

  const share = (call: KeptCall): Promise<boolean> =>
    change<boolean>(call.intent, (entry) =>
      isOpenCall(entry, call, limits)
        ? { write: afterShare(entry), answer: true }
        : { write: undefined, answer: false },
    )

  const end = (verb: 'settle' | 'forget' | 'withdraw', call: KeptCall): Promise<void> =>
    change<void>(call.intent, (entry) => {
      const after = afterEnd(verb, entry, call, limits)
      return { write: after ?? (entry && goneOf(entry, limits.now())), answer: undefined }
    })

  const find = async (intent: string): Promise<Found | undefined> =>
    foundOf((await look(digestOf(intent))).entry, limits)

  return {
    keep: (fresh) => guarded(() => keep(fresh)),
    find: (intent) => guarded(() => find(intent)),
    share: (call) => guarded(() => share(call)),
    settle: (call) => guarded(() => end('settle', call)),
    forget: (call) => guarded(() => end('forget', call)),
    withdraw: (call) => guarded(() => end('withdraw', call)),
    list: () =>
      guarded(async () => {
        const entries = (await readAll()).map(({ entry }) => entry)
        return unsettled(
          entries.filter((entry) => entry !== undefined),
          limits,
        )
      }),
  }
}

/** What a verb makes of what it finds. */
interface Change<Answer> {
  /** Nothing, or the entry itself: nothing is written. */
  readonly write: Entry | undefined
  readonly answer: Answer
}

/** A call that goes leaves its number, and none of its octets. */
function goneOf({ call }: Entry, now: number): Entry {
  return { call: { ...call, body: undefined, createdAt: longAgo }, doneAt: now }
}

const fileName = /^([0-9a-f]{64})\.(\d{1,15})$/

/** Too old for anybody to repeat its key. */
const longAgo = 0
const keepsBetweenCleanings = 64
/** Longer than a process stands still between two steps, unless it was stopped on purpose. */
const numbersStayMs = 60_000
const draftsStayMs = 3_600_000
/** Each round that fails is one in which another process wrote. */
const roundsMax = 100

function outrun(): KeeperError {
  return new KeeperError('unavailable', new Error(`Others were first ${roundsMax} times.`))
}

function inOrder(numbers: number[]): number[] {
  return numbers.filter((number) => number > 0).sort((one, other) => one - other)
}

function digestOf(intent: string): string {
  return createHash('sha256').update(intent).digest('hex')
}

async function writeNew(path: string, text: string, isDurable: boolean): Promise<void> {
  const file = await open(path, 'wx', 0o600)
  try {
    await file.writeFile(text)
    if (isDurable) await file.sync()
  } finally {
    await file.close()
  }
}

async function isOlder(path: string, ageMs: number): Promise<boolean> {
  const found = await stat(path).catch(absent)
  return found !== undefined && Date.now() - found.mtimeMs > ageMs
}

/** With all that is missing above it, durably. */
async function makeFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true, mode: 0o700 })
  if (first === undefined) return
  for (let made = folder; made.length >= first.length; made = dirname(made)) await syncFolder(dirname(made))
}

/** A name is durable when its folder is. Windows has no such thing, and needs none. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function codeOf(error: unknown): unknown {
  return (error as { readonly code?: unknown } | null)?.code
}

/** Another process was there first. */
function absent(error: unknown): undefined {
  if (codeOf(error) !== 'ENOENT') throw error
}
