import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import pg from 'pg'
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import { encodeOutcome, type Outcome } from '../../src/core/outcome.ts'
import type { RecordId } from '../../src/core/record.ts'
import { writeSealHead } from '../../src/core/sealed-outcome.ts'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { nodeRuntime } from '../../src/engine/node-runtime.ts'
import { type EncryptionOptions, outcomeSeal } from '../../src/engine/outcome-seal.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { postgresStore } from '../../src/stores/postgres.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { hasPostgres, postgresDatabase } from '../servers.ts'

const { sealing } = nodeRuntime()
const key = (fill: number): Uint8Array => new Uint8Array(32).fill(fill)
const encryption: EncryptionOptions = { keys: { 'key-1': key(1) }, current: 'key-1' }
const id = 'AAAAAAAAAAAAAAAAAAAAAA' as RecordId
const otherId = 'AAAAAAAAAAAAAAAAAAAAAQ' as RecordId
const small: Outcome = { kind: 'value', value: { paid: 4_200 } }
const large: Outcome = {
  kind: 'response',
  status: 201,
  headers: [['Content-Type', 'text/plain']],
  body: Buffer.from('charged '.repeat(2_000)),
}
const unreadable = expect.objectContaining({ code: 'outcome-unreadable' })

const plain = outcomeSeal(sealing, undefined, undefined)
const encrypted = outcomeSeal(sealing, undefined, encryption)
const uncompressed = outcomeSeal(sealing, false, encryption)

describe('a sealed outcome', () => {
  const outcomes = fc.oneof(
    fc.jsonValue().map((value): Outcome => ({ kind: 'value', value })),
    fc.record({
      kind: fc.constant('response' as const),
      status: fc.integer({ min: 200, max: 599 }),
      headers: fc.constant([['X-A', 'b']] as const),
      body: fc.uint8Array({ maxLength: 5_000 }),
    }),
    fc.record({
      kind: fc.constant('error' as const),
      name: fc.string(),
      message: fc.string(),
      code: fc.constant(undefined),
    }),
  )

  test('is read as it was written, compressed, encrypted or both', () => {
    fc.assert(
      fc.property(outcomes, fc.integer({ min: 0, max: 4_000 }), (outcome, minBytes) => {
        const encoded = encodeOutcome(outcome)
        for (const seal of [plain, encrypted, uncompressed, outcomeSeal(sealing, { minBytes }, encryption)]) {
          const opened = seal.open(id, seal.seal(id, encoded))
          expect(Buffer.from(encodeOutcome(opened)).equals(encoded)).toBe(true)
        }
      }),
    )
  })

  test('is compressed where that saves something, and only then', () => {
    const stored = plain.seal(id, encodeOutcome(large))
    expect(stored.length).toBeLessThan(500)
    expect(encrypted.seal(id, encodeOutcome(large)).length).toBeLessThan(500)
    const below = encodeOutcome(small)
    expect(plain.seal(id, below)).toBe(below)
    const noise = encodeOutcome({ ...large, body: sealing.randomOctets(10_000) } as Outcome)
    expect(plain.seal(id, noise)).toBe(noise)
    expect(outcomeSeal(sealing, false, undefined).seal(id, encodeOutcome(large)).length).toBeGreaterThan(
      16_000,
    )
  })

  test('holds nothing of the outcome or the key, and no two are alike', () => {
    const encoded = encodeOutcome({ kind: 'value', value: 'canary-5eed' })
    const one = Buffer.from(encrypted.seal(id, encoded))
    const two = Buffer.from(encrypted.seal(id, encoded))
    expect(one.includes('canary')).toBe(false)
    expect(one.includes(Buffer.from(key(1)))).toBe(false)
    expect(one.equals(two)).toBe(false)
  })

  test('of which one bit was changed, or the end is missing, is not read', () => {
    for (const [seal, outcome] of [
      [encrypted, small],
      [encrypted, large],
    ] as const) {
      const stored = seal.seal(id, encodeOutcome(outcome))
      for (let at = 0; at < stored.length * 8; at++) {
        const changed = Uint8Array.from(stored)
        changed[at >> 3] = (changed[at >> 3] as number) ^ (1 << (at & 7))
        expect(() => seal.open(id, changed), `bit ${at}`).toThrow(unreadable)
      }
      for (let length = 0; length < stored.length; length++) {
        expect(() => seal.open(id, stored.subarray(0, length))).toThrow(unreadable)
      }
    }
  })

  test('of any octets is read or refused, and nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom(1, 2), (octets, version) => {
        octets[0] = version
        for (const seal of [plain, encrypted]) {
          try {
            seal.open(id, octets)
          } catch (error) {
            expect(error).toEqual(unreadable)
          }
        }
      }),
    )
  })

  test('that was moved to another record is not read', () => {
    const stored = encrypted.seal(id, encodeOutcome(small))
    expect(() => encrypted.open(otherId, stored)).toThrow(unreadable)
  })

  test('that unpacks to more than it says, or to far too much, is not read', () => {
    const bomb = sealing.compress(new Uint8Array(1_000_000))
    for (const plainBytes of [10, 999_999, 1_000_001, 2 ** 32 - 1]) {
      const head = writeSealHead({ compressed: true, plainBytes, encryption: undefined })
      expect(() => plain.open(id, Buffer.concat([head, bomb]))).toThrow(unreadable)
    }
  })

  test('says which key it needs, and an outcome that is not encrypted is taken only where told so', () => {
    const stored = encrypted.seal(id, encodeOutcome(small))
    const others = { keys: { 'key-2': key(2) }, current: 'key-2' }
    expect(() => outcomeSeal(sealing, undefined, others).open(id, stored)).toThrow(
      /key key-1.*encryption\.keys/,
    )
    expect(() => plain.open(id, stored)).toThrow(/key key-1.*encryption\.keys/)
    const wrong = { keys: { 'key-1': key(2) }, current: 'key-1' }
    expect(() => outcomeSeal(sealing, undefined, wrong).open(id, stored)).toThrow(unreadable)
    for (const outcome of [small, large]) {
      const before = plain.seal(id, encodeOutcome(outcome))
      expect(() => encrypted.open(id, before)).toThrow(/acceptPlain/)
      const accepting = outcomeSeal(sealing, undefined, { ...encryption, acceptPlain: true })
      expect(accepting.open(id, before).kind).toBe(outcome.kind)
    }
  })

  test('is written with the current key and read with every key', () => {
    const old = encrypted.seal(id, encodeOutcome(small))
    const keys = {
      'key-1': Buffer.from(key(1)).toString('hex'),
      'key-2': Buffer.from(key(2)).toString('base64url'),
    }
    const rotated = outcomeSeal(sealing, undefined, { keys, current: 'key-2' })
    expect(rotated.open(id, old)).toEqual(small)
    const fresh = rotated.seal(id, encodeOutcome(small))
    expect(() => encrypted.open(id, fresh)).toThrow(/key-2/)
    const later = outcomeSeal(sealing, undefined, { keys: { 'key-2': keys['key-2'] }, current: 'key-2' })
    expect(later.open(id, fresh)).toEqual(small)
  })
})

test.each<[unknown, string]>([
  [{ encryption: { keys: { a: new Uint8Array(31).fill(1) }, current: 'a' } }, 'encryption.keys.a'],
  [{ encryption: { keys: { a: 'x'.repeat(32) }, current: 'a' } }, 'encryption.keys.a'],
  [{ encryption: { keys: { a: new Uint8Array(32) }, current: 'a' } }, 'encryption.keys.a'],
  [{ encryption: { keys: { a: 7 }, current: 'a' } }, 'encryption.keys.a'],
  [{ encryption: { keys: { '': key(1) }, current: '' } }, 'encryption.keys'],
  [{ encryption: { keys: { ['i'.repeat(33)]: key(1) }, current: 'x' } }, 'encryption.keys'],
  [{ encryption: { keys: { a: key(1), b: key(1) }, current: 'a' } }, 'encryption.keys'],
  [{ encryption: { keys: [key(1)], current: '0' } }, 'encryption.keys'],
  [{ encryption: { keys: { a: key(1) }, current: 'b' } }, 'encryption.current'],
  [{ encryption: { keys: {}, current: 'b' } }, 'encryption.current'],
  [{ encryption: { keys: { a: key(1) }, current: 'a', acceptPlain: 1 } }, 'encryption.acceptPlain'],
  [{ encryption: { keys: { a: key(1) }, curent: 'a' } }, 'encryption.curent'],
  [{ encryption: 'secret' }, 'encryption'],
  [{ compression: true }, 'compression'],
  [{ compression: { minBytes: -1 } }, 'compression.minBytes'],
  [{ compression: { min: 1 } }, 'compression.min'],
])('options %j are refused by name', (options, option) => {
  const create = (): unknown => createIdempotency({ store: memoryStore(), ...(options as object) })
  expect(create).toThrow(expect.objectContaining({ code: 'option-invalid', option }))
  try {
    create()
  } catch (error) {
    expect(String(error)).not.toMatch(/x{32}|i{33}|1,1,1/)
  }
})

describe('at rest', () => {
  const call = { key: 'k1', principal: 'alice', input: { sku: 'A1' } }
  const canary = 'canary-5eed '.repeat(400)

  test('SQLite: both modes write and replay sealed outcomes, and a lost key is no second run', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'retrysafe-seal-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const file = join(folder, 'shop.db')
    let runs = 0
    const open = (options: EncryptionOptions | undefined) => {
      const idem = createIdempotency({
        store: sqliteStore({ file }),
        sweep: false,
        ...(options !== undefined && { encryption: options }),
      })
      return {
        idem,
        lease: idem.operation('lease', () => ({ runs: ++runs, canary })),
        transaction: idem.transaction('transaction', () => ({ runs: ++runs, canary })),
        statement: idem.statement('statement', 'SELECT ? AS canary', () => [canary]),
      }
    }
    const first = open(encryption)
    for (const operation of [first.lease, first.transaction, first.statement]) {
      expect((await operation.run(call)).replayed).toBe(false)
      expect(await operation.run(call)).toMatchObject({ replayed: true })
    }
    await first.idem.close()
    const db = new DatabaseSync(file)
    const rows = db.prepare('SELECT outcome FROM retrysafe_records').all()
    db.close()
    expect(rows).toHaveLength(3)
    for (const row of rows) {
      const outcome = Buffer.from(row['outcome'] as Uint8Array)
      expect([outcome.subarray(0, 2), outcome.includes('canary'), outcome.length < 400]).toEqual([
        Buffer.from([2, 3]),
        false,
        true,
      ])
    }
    const rotated = open({ keys: { ...encryption.keys, 'key-2': key(2) }, current: 'key-2' })
    expect(await rotated.lease.run(call)).toEqual({ value: { runs: 1, canary }, replayed: true })
    await rotated.idem.close()
    for (const lost of [open({ keys: { 'key-2': key(2) }, current: 'key-2' }), open(undefined)]) {
      for (const operation of [lost.lease, lost.transaction]) {
        await expect(operation.run(call)).rejects.toMatchObject({ code: 'outcome-unreadable' })
      }
      await lost.idem.close()
    }
    expect(runs).toBe(2)
  })

  describe.skipIf(!hasPostgres)('Postgres', () => {
    let pool: pg.Pool
    afterAll(() => pool?.end())

    test('a statement is applied once, and the database writes no outcome itself', async () => {
      pool = new pg.Pool({ connectionString: await postgresDatabase(), max: 4 })
      await pool.query('CREATE TABLE orders (sku text)')
      const idem = createIdempotency({ store: postgresStore({ pool }), encryption, sweep: false })
      const order = idem.statement(
        'order',
        'INSERT INTO orders (sku) VALUES ($1) RETURNING sku',
        ({ sku }: { sku: string }) => [sku],
      )
      const all = await Promise.all(Array.from({ length: 5 }, () => order.run(call)))
      expect(all.filter(({ replayed }) => !replayed)).toHaveLength(1)
      expect(all.map(({ value }) => value)).toEqual(Array(5).fill([{ sku: 'A1' }]))
      expect((await pool.query('SELECT sku FROM orders')).rows).toHaveLength(1)
      const { rows } = await pool.query('SELECT outcome FROM retrysafe_records')
      expect([rows.length, rows[0].outcome[0], rows[0].outcome.includes('A1')]).toEqual([1, 2, false])
      await idem.close()
    })
  })
})
