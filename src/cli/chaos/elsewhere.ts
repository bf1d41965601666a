/** Where effects are kept that cannot be beside their records: a file of SQLite. */
import { DatabaseSync } from 'node:sqlite'

/** Opens the file, for several processes at once. */
export function openElsewhere(file: string): DatabaseSync {
  const db = new DatabaseSync(file)
  db.exec('PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL')
  return db
}
