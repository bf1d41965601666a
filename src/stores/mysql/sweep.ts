/** One bounded batch of the sweep, in a transaction of its own; killed at any time, it has happened or not. */
import type { SweepReply } from '../../core/store.ts'
import type { MysqlClient, Row, Run } from './client.ts'
import { asStoreError } from './errors.ts'
import type { Server } from './server.ts'
import { integer } from './rows.ts'
import type { SweepStatements } from './statements.ts'
import { beginSession, endSession, rollBack } from './transactions.ts'

/** Rows that one batch deals with: so many locks at most, for some milliseconds. */
const rowsMax = 1_000

export async function sweepBatch<Tx>(
  client: MysqlClient<Tx>,
  server: Server,
  statements: SweepStatements,
  limit: number,
): Promise<SweepReply> {
  const count = Math.max(1, Math.min(rowsMax, Math.trunc(limit)))
  const session = await beginSession(client, server, 'read committed')
  let isSound = false
  try {
    const reply = await inTransaction(session.run, statements, count)
    await session.run('COMMIT', [])
    isSound = true
    return reply
  } catch (error) {
    isSound = await rollBack(session)
    throw asStoreError(error, 'commit')
  } finally {
    await endSession(session, isSound)
  }
}

async function inTransaction(run: Run, statements: SweepStatements, count: number): Promise<SweepReply> {
  const { rows } = await run(statements.due, [count])
  const over = rows.filter((row) => isTrue(row.is_over))
  const entombs = rows.filter((row) => !isTrue(row.is_over) && isTrue(row.entombs))
  const moves = rows.filter((row) => !isTrue(row.is_over) && !isTrue(row.entombs))
  const removed = over.length === 0 ? 0 : (await run(statements.remove(over.length), ids(over))).affected
  if (entombs.length > 0) await run(statements.entomb(entombs.length), ids(entombs))
  if (moves.length > 0) await run(statements.move(moves.length), ids(moves))
  return { removed, entombed: entombs.length, more: rows.length === count }
}

function isTrue(value: unknown): boolean {
  return integer(value, 'times') !== 0
}

function ids(rows: readonly Row[]): Buffer[] {
  return rows.map(({ id }) => id as Buffer)
}
