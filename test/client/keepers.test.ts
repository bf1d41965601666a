/** Keepers of one process, of files and of SQLite: the cases that all pass, and what is theirs alone. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, onTestFinished, test } from 'vitest'
import { fileKeeper } from '../../src/client/keepers/file.ts'
import {
  fallbackKeeper,
  indexedDbKeeper,
  KeeperError,
  type KeeperOptions,
  localStorageKeeper,
  memoryKeeper,
} from '../../src/client/keepers/index.ts'
import { type SqliteKeeper, sqliteKeeper } from '../../src/client/keepers/sqlite.ts'
import { aCall, keeperConformance } from './keeper-conformance.ts'

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'retrysafe-keeper-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

function openSqlite(file: string, options: KeeperOptions): SqliteKeeper {
  const keeper = sqliteKeeper({ ...options, file })
  onTestFinished(() => keeper.close())
  return keeper
}

keeperConformance({
  name: 'memory',
  open(options) {
    const keeper = memoryKeeper(options)
    return { keeper, again: () => keeper }
  },
})

keeperConformance({
  name: 'memory behind a storage that is forbidden',
  open(options) {
    // Node has no local storage unless it is told to.
    const keeper = fallbackKeeper({
      keeper: localStorageKeeper(options),
      fallback: memoryKeeper(options),
      onFallback: () => {},
    })
    return { keeper, again: () => keeper }
  },
})

keeperConformance({
  name: 'file',
  open(options) {
    const folder = join(newFolder(), 'calls')
    return {
      keeper: fileKeeper({ ...options, folder }),
      again: () => fileKeeper({ ...options, folder }),
    }
  },
})

keeperConformance({
  name: 'sqlite',
  open(options) {
    const file = join(newFolder(), 'calls.db')
    return { keeper: openSqlite(file, options), again: () => openSqlite(file, options) }
  },
})

describe('file', () => {
  test('files and folder are for this user alone', async () => {
    const folder = join(newFolder(), 'a', 'calls')
    await fileKeeper({ folder }).keep(aCall())
    const [file] = readdirSync(folder) as [string]
    expect([statSync(folder).mode & 0o777, statSync(join(folder, file)).mode & 0o777]).toEqual([0o700, 0o600])
  })

  test('what cannot be read is told and left out, and its intent is free', async () => {
    const folder = newFolder()
    const damages: string[] = []
    const keeper = fileKeeper({ folder, onDamaged: ({ reason }) => void damages.push(reason) })
    await keeper.keep(aCall())
    await keeper.keep(aCall({ intent: 'whole' }))
    for (const file of readdirSync(folder)) {
      const text = readFileSync(join(folder, file), 'utf8')
      if (text.includes('cart-7')) writeFileSync(join(folder, file), text.slice(0, text.length / 2))
    }
    expect((await keeper.list()).map(({ intent }) => intent)).toEqual(['whole'])
    expect(damages).toEqual(['damaged'])
    const fresh = aCall()
    expect(await keeper.keep(fresh)).toEqual({ call: fresh, isNew: true, replaced: undefined })
    expect(await keeper.list()).toHaveLength(2)
  })

  test.each(['', 'null', '[]', '{}', '{"intent":1}', '\0'])(
    'text that is no call is damage: %j',
    async (text) => {
      const folder = newFolder()
      const damages: string[] = []
      const keeper = fileKeeper({ folder, onDamaged: ({ reason }) => void damages.push(reason) })
      await keeper.keep(aCall())
      writeFileSync(join(folder, readdirSync(folder)[0] as string), text)
      expect(await keeper.list()).toEqual([])
      expect(damages).toEqual(['damaged'])
    },
  )

  test('no octets of a call stay when it is done, and nothing when a minute has passed', async () => {
    const folder = newFolder()
    const clock = { time: Date.now(), now: (): number => clock.time }
    const keeper = fileKeeper({ folder, clock, callsMax: 1 })
    const call = aCall({ body: 'of somebody' })
    await keeper.keep(call)
    await keeper.settle(call)
    const texts = readdirSync(folder).map((file) => readFileSync(join(folder, file), 'utf8'))
    expect(texts).toHaveLength(1)
    expect(texts[0]).not.toContain('of somebody')
    clock.time += 60_000
    const next = aCall({ intent: 'next', createdAt: clock.time })
    await keeper.keep(next)
    expect(readdirSync(folder)).toHaveLength(1)
  })

  test('what a crashed process did not finish to write goes', async () => {
    const folder = newFolder()
    const keeper = fileKeeper({ folder })
    for (const [name, ageMs] of [
      ['old', 3_700_000],
      ['young', 0],
    ] as const) {
      const draft = join(folder, `${name}.draft`)
      writeFileSync(draft, 'half of a ca')
      const time = (Date.now() - ageMs) / 1_000
      utimesSync(draft, time, time)
    }
    await keeper.keep(aCall())
    expect(readdirSync(folder).filter((name) => name.endsWith('.draft'))).toEqual(['young.draft'])
    expect(await keeper.list()).toHaveLength(1)
  })

  test('a call that is done does not come back from what a crash left, when it is cleaned', async () => {
    const folder = newFolder()
    const clock = { time: Date.now(), now: (): number => clock.time }
    const keeper = fileKeeper({ folder, clock })
    const call = aCall({ createdAt: clock.time })
    await keeper.keep(call)
    const [first] = readdirSync(folder) as [string]
    const text = readFileSync(join(folder, first))
    await keeper.settle(call)
    // As it is when the process is killed between its last two steps.
    writeFileSync(join(folder, first), text)
    expect(await keeper.list()).toEqual([])
    clock.time += 61_000
    const other = aCall({ intent: 'other', createdAt: clock.time })
    const anew = fileKeeper({ folder, clock })
    await anew.keep(other)
    expect(readdirSync(folder)).toHaveLength(1)
    expect(await anew.list()).toEqual([other])
    expect((await anew.keep(aCall({ createdAt: clock.time }))).isNew).toBe(true)
  })

  test('a file that cannot be read goes when nobody may send it any more', async () => {
    const folder = newFolder()
    const keeper = fileKeeper({ folder })
    await keeper.keep(aCall({ intent: 'young' }))
    const [young] = readdirSync(folder) as [string]
    await keeper.keep(aCall({ intent: 'old' }))
    const old = readdirSync(folder).find((file) => file !== young) as string
    for (const file of [young, old]) writeFileSync(join(folder, file), '')
    const time = Date.now() / 1_000 - 13 * 3_600
    utimesSync(join(folder, old), time, time)
    await fileKeeper({ folder }).keep(aCall())
    const files = readdirSync(folder)
    expect(files).toHaveLength(2)
    expect(files).toContain(young)
  })

  test('a folder that is removed is made again', async () => {
    const folder = join(newFolder(), 'a', 'calls')
    const keeper = fileKeeper({ folder })
    const call = aCall()
    await keeper.keep(call)
    rmSync(join(folder, '..'), { recursive: true })
    expect(await keeper.find(call.intent)).toBeUndefined()
    rmSync(join(folder, '..'), { recursive: true })
    await keeper.settle(call)
    rmSync(join(folder, '..'), { recursive: true })
    expect(await keeper.keep(call)).toMatchObject({ isNew: true })
    expect(await keeper.list()).toEqual([call])
  })

  test('the folder is where it was when the process goes elsewhere', async () => {
    const [home, elsewhere] = [newFolder(), newFolder()]
    const before = process.cwd()
    onTestFinished(() => process.chdir(before))
    process.chdir(home)
    const keeper = fileKeeper({ folder: './calls' })
    await keeper.keep(aCall())
    process.chdir(elsewhere)
    expect(await keeper.list()).toHaveLength(1)
  })

  test('files of others stay, and are no calls', async () => {
    const folder = newFolder()
    writeFileSync(join(folder, 'README'), 'mine')
    const keeper = fileKeeper({ folder })
    await keeper.keep(aCall())
    expect(await keeper.list()).toHaveLength(1)
    expect(readFileSync(join(folder, 'README'), 'utf8')).toBe('mine')
  })

  test('a folder that cannot be is told', async () => {
    const folder = join(newFolder(), 'file')
    writeFileSync(folder, '')
    await expect(fileKeeper({ folder }).keep(aCall())).rejects.toMatchObject({ reason: 'unavailable' })
    expect(() => fileKeeper({ folder: '' })).toThrow('folder')
  })
})

describe('sqlite', () => {
  test('the file is for this user alone, and commits reach the disk', async () => {
    const file = join(newFolder(), 'calls.db')
    await openSqlite(file, {}).keep(aCall())
    expect(statSync(file).mode & 0o777).toBe(0o600)
    const database = new DatabaseSync(file)
    onTestFinished(() => database.close())
    expect(database.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' })
  })

  test('a row that cannot be read is told and left out, and its intent is free', async () => {
    const file = join(newFolder(), 'calls.db')
    const damages: string[] = []
    const keeper = openSqlite(file, { onDamaged: ({ reason }) => void damages.push(reason) })
    await keeper.keep(aCall())
    await keeper.keep(aCall({ intent: 'other' }))
    await keeper.keep(aCall({ intent: 'whole' }))
    const database = new DatabaseSync(file)
    onTestFinished(() => database.close())
    database.exec(`UPDATE retrysafe_kept_calls SET fields = '{' WHERE intent = '"pay:cart-7"'`)
    database.exec(`UPDATE retrysafe_kept_calls SET created_at = 'soon' WHERE intent = '"other"'`)
    expect((await keeper.list()).map(({ intent }) => intent)).toEqual(['whole'])
    expect(damages).toEqual(['damaged', 'damaged'])
    const fresh = aCall()
    expect(await keeper.keep(fresh)).toMatchObject({ call: { key: fresh.key }, isNew: true })
  })

  test('a file that is no database is told, and used when it is one', async () => {
    const file = join(newFolder(), 'calls.db')
    writeFileSync(file, 'this is no database'.repeat(100))
    const keeper = openSqlite(file, {})
    await expect(keeper.keep(aCall())).rejects.toMatchObject({ reason: 'unavailable' })
    rmSync(file)
    expect(await keeper.keep(aCall())).toMatchObject({ isNew: true })
  })

  test('while another process writes it waits and lets this one run, for five seconds', async () => {
    const file = join(newFolder(), 'calls.db')
    const keeper = openSqlite(file, {})
    await keeper.keep(aCall())
    const other = new DatabaseSync(file)
    onTestFinished(() => other.close())
    other.exec('BEGIN IMMEDIATE')
    // Who only looks waits for nobody.
    expect(await keeper.list()).toHaveLength(1)
    const kept = keeper.keep(aCall({ intent: 'soon' }))
    // Stopped, this process could not let go.
    setTimeout(() => other.exec('ROLLBACK'), 100)
    expect(await kept).toMatchObject({ isNew: true })
    other.exec('BEGIN IMMEDIATE')
    await expect(keeper.keep(aCall({ intent: 'never' }))).rejects.toMatchObject({ reason: 'unavailable' })
    other.exec('ROLLBACK')
    expect(await keeper.list()).toHaveLength(2)
  })

  test.each(['removed', 'replaced'])('a file that was %s is not written to any more', async (how) => {
    const folder = newFolder()
    const file = join(folder, 'calls.db')
    const keeper = openSqlite(file, {})
    await keeper.keep(aCall({ intent: 'gone' }))
    for (const name of readdirSync(folder)) rmSync(join(folder, name))
    const call = aCall()
    if (how === 'replaced') await openSqlite(file, {}).keep(call)
    expect((await keeper.keep(call)).isNew).toBe(how === 'removed')
    expect((await openSqlite(file, {}).list()).map(({ key }) => key)).toEqual([call.key])
  })

  test('it can be closed and used again', async () => {
    const keeper = openSqlite(join(newFolder(), 'calls.db'), {})
    await keeper.keep(aCall())
    await keeper.close()
    await keeper.close()
    expect(await keeper.list()).toHaveLength(1)
  })

  test('its table may lie in a database of the application', async () => {
    const file = join(newFolder(), 'shop.db')
    const database = new DatabaseSync(file)
    onTestFinished(() => database.close())
    database.exec('CREATE TABLE orders (id INTEGER)')
    await openSqlite(file, {}).keep(aCall())
    expect(database.prepare('SELECT count(*) AS count FROM orders').get()).toEqual({ count: 0 })
  })
})

describe('fallback', () => {
  test('a call that was kept in memory keeps its key when the storage is back', async () => {
    const told: string[] = []
    const storage = memoryKeeper()
    let isDown = true
    const keeper = fallbackKeeper({
      keeper: {
        ...storage,
        keep: (call) => (isDown ? Promise.reject(new KeeperError('full')) : storage.keep(call)),
      },
      fallback: memoryKeeper(),
      onFallback: ({ reason }) => void told.push(reason),
    })
    const first = aCall()
    expect(await keeper.keep(first)).toMatchObject({ isNew: true })
    isDown = false
    expect(await keeper.keep(aCall())).toEqual({ call: first, isNew: false })
    expect(await keeper.share(first)).toBe(true)
    await keeper.withdraw(first)
    await keeper.keep(aCall({ intent: 'other', createdAt: 1 }))
    expect((await keeper.list()).map(({ intent }) => intent)).toEqual(['other', first.intent])
    expect(told).toEqual(['full'])
    await keeper.settle(first)
    expect(await keeper.list()).toHaveLength(1)
  })
})

test.each([
  [{ callsMax: 0 }, 'callsMax'],
  [{ bodyBytesMax: 1.5 }, 'bodyBytesMax'],
  [{ lifetime: 'soon' }, 'lifetime'],
  [{ keepAfterDone: '13h' }, 'keepAfterDone'],
  [{ lifetime: '1h', keepAfterDone: '31m' }, 'keepAfterDone'],
  [{ callMax: 1 }, 'callsMax'],
])('options that break a rule are refused: %j', (options, named) => {
  const make = [memoryKeeper, localStorageKeeper, indexedDbKeeper]
  for (const keeper of make) expect(() => keeper(options as KeeperOptions)).toThrow(named)
})
