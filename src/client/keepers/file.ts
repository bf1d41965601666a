/**
 * Calls in a folder, one file for each state of a call, shared by the processes of one host.
 *
 * A file's name is the digest of the intent and a generation, and what is in it never changes. The highest generation
 * counts. A new one is written under another name, synced, and then linked to its own: the link is made once, whoever
 * else wants to, which is what makes `keep` atomic without a lock that a killed process could leave behind. A call
 * that is done gets one more generation that says so, and stays for a minute at least, so that no number is given
 * twice while a slow process still goes by what it read.
 *
 *   <digest>.1   kept            the call, durable
 *   <digest>.2   kept, edited    .1 is removed
 *   <digest>.3   done            .2 is removed; .3 itself later
 */
import { createHash, randomUUID } from 'node:crypto'
import { link, mkdir, open, readdir, readFile, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { InvalidOptionError } from '../../core/errors.ts'
import { entryOf, entryText } from './entry.ts'
import {
  checkSize,
  type Entry,
  guarded,
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

export { KeeperError, type KeeperOptions, type Kept, type KeptCall, type KeyKeeper } from './keeper.ts'

export interface FileKeeperOptions extends KeeperOptions {
  /** Made when it is not there, for this user alone. On a local disk, and for nothing else. */
  readonly folder: string
}

/** The newest state of an intent. */
interface Found extends Entry {
  readonly digest: string
  readonly generation: number
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
  const { folder } = options
  if (typeof folder !== 'string' || folder === '') {
    throw new InvalidOptionError('folder', 'must be the path of a folder', folder)
  }
  let isMade = false
  let keeps = 0
  const pathOf = (digest: string, generation: number): string => join(folder, `${digest}.${generation}`)

  /** The generations of each intent, from the names alone. */
  async function generations(): Promise<Map<string, number[]>> {
    if (!isMade) await mkdir(folder, { recursive: true, mode: 0o700 })
    isMade = true
    const found = new Map<string, number[]>()
    for (const file of await readdir(folder)) {
      const [, digest, generation] = fileName.exec(file) ?? []
      if (digest === undefined) continue
      found.set(digest, [...(found.get(digest) ?? []), Number(generation)])
    }
    return found
  }

  /** `undefined` where there is none, or one that cannot be read: it counts as absent, and its number as taken. */
  async function read(digest: string, generation: number): Promise<Found | undefined> {
    if (generation === 0) return undefined
    const text = await readFile(pathOf(digest, generation), 'utf8').catch(absent)
    if (text === undefined) return undefined
    try {
      return { ...entryOf(text), digest, generation }
    } catch (error) {
      limits.onDamaged(error as KeeperError)
      return undefined
    }
  }

  async function readAll(): Promise<Found[]> {
    const entries: Found[] = []
    for (const [digest, numbers] of await generations()) {
      const entry = await read(digest, Math.max(...numbers))
      if (entry !== undefined) entries.push(entry)
    }
    return entries
  }

  /** Adds a generation, and removes those below. `false` where another process was first. */
  async function add(digest: string, generation: number, entry: Entry): Promise<boolean> {
    // That a call is done may be lost with the machine's power: its key is then sent once more, and replayed.
    const isDurable = entry.doneAt === undefined
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
      await unlink(draft).catch(absent)
    }
    if (isDurable) await syncFolder(folder)
    const others = (await generations()).get(digest) ?? []
    if (Math.max(...others) > generation) {
      // What this went by was removed before the link was made: a newer one is there.
      await unlink(path).catch(absent)
      return false
    }
    for (const lower of others.filter((number) => number < generation)) {
      await unlink(pathOf(digest, lower)).catch(absent)
    }
    return true
  }

  /** Makes room for one call besides that of `digest`, and removes what crashed processes left. */
  async function makeRoom(digest: string, intents: number): Promise<void> {
    // Only then is every file read.
    if (intents < limits.callsMax && keeps++ % keepsBetweenCleanings !== 0) return
    const entries = (await readAll()).filter((entry) => entry.digest !== digest)
    for (const entry of roomAmong(entries, limits)) {
      const { doneAt, call } = entry
      const isFresh = limits.now() - (doneAt ?? call.createdAt) < numbersStayMs
      if (!isFresh) await unlink(pathOf(entry.digest, entry.generation)).catch(absent)
    }
    for (const file of await readdir(folder)) {
      if (!file.endsWith('.draft')) continue
      const draft = await stat(join(folder, file)).catch(absent)
      if (draft !== undefined && Date.now() - draft.mtimeMs > draftsStayMs) {
        await unlink(join(folder, file)).catch(absent)
      }
    }
  }

  async function keep(fresh: KeptCall): Promise<Kept> {
    checkSize(fresh, limits)
    const digest = digestOf(fresh.intent)
    for (let round = 0; round < roundsMax; round++) {
      const all = await generations()
      const generation = Math.max(0, ...(all.get(digest) ?? []))
      const entry = await read(digest, generation)
      const verdict = verdictOn(entry, fresh, limits)
      if (entry !== undefined && verdict === 'repeat') return { call: entry.call, isNew: false }
      await makeRoom(digest, all.size)
      if (await add(digest, generation + 1, { call: fresh })) {
        return { call: fresh, isNew: true, replaced: verdict === 'replace' ? entry?.call : undefined }
      }
    }
    throw new KeeperError('unavailable', new Error(`Others were first ${roundsMax} times.`))
  }

  /** Where another process is first, the intent has another call by then, or this one is done. */
  async function end({ intent, key }: KeptCall, isRemembered: boolean): Promise<void> {
    const digest = digestOf(intent)
    const generation = Math.max(0, ...((await generations()).get(digest) ?? []))
    const entry = await read(digest, generation)
    if (entry?.call.key !== key || isOver(entry, limits)) return
    if (isRemembered && entry.doneAt !== undefined) return
    const call = isRemembered ? entry.call : { ...entry.call, body: undefined, createdAt: longAgo }
    await add(digest, generation + 1, { call, doneAt: limits.now() })
  }

  return {
    keep: (fresh) => guarded(() => keep(fresh)),
    settle: (call) => guarded(() => end(call, limits.keepAfterDoneMs > 0)),
    forget: (call) => guarded(() => end(call, false)),
    list: () => guarded(async () => unsettled(await readAll())),
  }
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
