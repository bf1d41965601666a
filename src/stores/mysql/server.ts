/** What the server is and how it is set: asked once, before the first verb. */
import { InvalidOptionError, StoreError } from '../../core/errors.ts'
import type { Row, Run } from './client.ts'
import { errorNumber, errorNumbers } from './errors.ts'
import { integer } from './rows.ts'
import { outcomeBytesMax } from './verbs.ts'

/** What the store knows of the server. */
export interface Server {
  readonly isMariadb: boolean
  readonly isolationVariable: 'tx_isolation' | 'transaction_isolation'
  /** A lock that could not be had ends the whole transaction (`innodb_rollback_on_timeout`). */
  readonly rollsBackOnTimeout: boolean
}

/** The largest outcome is twice as long in a statement, with some room for the rest of it. */
const packetBytesMin = 2 * outcomeBytesMax + 64 * 1024

/**
 * @throws InvalidOptionError when the pool or its server cannot carry the store
 * @throws StoreError `permanent` when the server takes no statement as large as the store may send
 */
export async function readServer(run: Run, option: string): Promise<Server> {
  const { rows } = await run(
    'SELECT VERSION() AS version, @@autocommit AS autocommit, @@max_allowed_packet AS packet, @@innodb_rollback_on_timeout AS rolls_back',
    [],
  )
  const row = rows[0] as Row
  const { isMariadb, isolationVariable } = readRelease(String(row.version), option)
  if (integer(row.autocommit, 'autocommit') !== 1) {
    throw new InvalidOptionError(option, 'must leave autocommit on: what the store writes would not be kept')
  }
  if (integer(row.packet, 'max_allowed_packet') < packetBytesMin) {
    throw new StoreError('permanent', `max_allowed_packet of the server is under ${packetBytesMin} bytes.`)
  }
  await refuseMultipleStatements(run, option)
  return { isMariadb, isolationVariable, rollsBackOnTimeout: integer(row.rolls_back, 'rolls_back') === 1 }
}

function readRelease(version: string, option: string): Pick<Server, 'isMariadb' | 'isolationVariable'> {
  // MariaDB 10 says 5.5.5-10.x to clients of old protocols.
  const [, major = '0', minor = '0'] = /^(?:5\.5\.5-)?(\d+)\.(\d+)/.exec(version) ?? []
  const release = Number(major) * 100 + Number(minor)
  const isMariadb = /mariadb/i.test(version)
  if (release < (isMariadb ? 1_006 : 800)) {
    throw new InvalidOptionError(option, 'must lead to MySQL 8.0 or MariaDB 10.6, or newer')
  }
  // MariaDB has MySQL's name since 11.1, and will drop the old one.
  const isOld = isMariadb && release < 1_101
  return { isMariadb, isolationVariable: isOld ? 'tx_isolation' : 'transaction_isolation' }
}

/** With it, whatever gets into a statement of the user's can be followed by a statement of somebody else's. */
async function refuseMultipleStatements(run: Run, option: string): Promise<void> {
  try {
    await run('DO 0; DO 0', [])
  } catch (error) {
    if (errorNumber(error) === errorNumbers.syntax) return
    throw error
  }
  throw new InvalidOptionError(option, 'must not allow multipleStatements')
}
