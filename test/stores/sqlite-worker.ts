/**
 * Another process on the same file. Reads one JSON command from its arguments, prints one JSON line when it has
 * reached what the test waits for, and ends, or holds still until it is killed.
 */
import { writeSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import type { RecordId } from '../../src/core/record.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { completion, newClaim } from '../../src/verification/store-cases/context.ts'

export type Command =
  /** Claims every id and prints which it won. */
  | { readonly do: 'claim'; readonly file: string; readonly ids: readonly string[] }
  /** Opens a fresh file. */
  | { readonly do: 'ready'; readonly file: string }
  /** Claims, writes and settles inside a transaction, and stays before its commit. */
  | { readonly do: 'stay in transaction'; readonly file: string; readonly id: string }
  /** Claims and settles one record after the other, printing each id once it is answered, until it is killed. */
  | { readonly do: 'settle without end'; readonly file: string }
  /** Sweeps, and stays in the middle of a batch. */
  | { readonly do: 'stay in a sweep'; readonly file: string }
  /** Takes the write lock and stays. */
  | { readonly do: 'hold the lock'; readonly file: string }

async function main(command: Command): Promise<void> {
  const { file } = command
  if (command.do === 'hold the lock') {
    const db = new DatabaseSync(file)
    db.exec('BEGIN IMMEDIATE')
    print('held')
    process.stdin.once('data', () => {
      db.exec('COMMIT')
      db.close()
      process.exit(0)
    })
    return
  }
  if (command.do === 'stay in a sweep') {
    await sqliteStore({ open: () => stayingAfter(file, 50) }).sweep(500)
    return
  }
  const store = sqliteStore({ file, busyMsMax: '10s' })
  switch (command.do) {
    case 'claim': {
      const won: string[] = []
      await Promise.all(
        command.ids.map(async (id, at) => {
          // Spread over many turns, so that the processes' commits interleave.
          for (let turn = 0; turn < at % 16; turn++) await new Promise((resolve) => setImmediate(resolve))
          const { replies } = await store.claim([newClaim({ id: id as RecordId })])
          if (replies[0]?.kind === 'claimed') won.push(id)
          else if (replies[0]?.kind !== 'found') throw new Error('a claim failed')
        }),
      )
      print(won)
      break
    }
    case 'ready':
      await store.ready()
      print('ready')
      break
    case 'stay in transaction':
      await store.transaction(async (tx, records) => {
        const claim = newClaim({ id: command.id as RecordId })
        await records.claim([claim])
        tx.exec("INSERT INTO orders (text) VALUES ('half')")
        await records.settle([completion(claim)])
        print('inside')
        return await new Promise(() => setInterval(() => {}, 1_000))
      })
      break
    case 'settle without end':
      for (;;) {
        const claim = newClaim()
        await store.claim([claim])
        await store.settle([completion(claim)])
        print(claim.id)
      }
    default:
      command satisfies never
  }
  await store.close()
}

/** A connection that holds still, with its lock, once it has removed so many records. */
function stayingAfter(file: string, count: number): DatabaseSync {
  const db = new DatabaseSync(file)
  let removed = 0
  db.function('stay', () => {
    removed += 1
    if (removed < count) return 0
    writeSync(process.stdout.fd, `${JSON.stringify('inside')}\n`)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
    return 0
  })
  db.exec('CREATE TEMP TRIGGER stay AFTER DELETE ON main.retrysafe_records BEGIN SELECT stay(); END')
  return db
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}

await main(JSON.parse(process.argv[2] as string) as Command)
