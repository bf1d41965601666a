/** A folder of this run on the project's disk, where a sync is a real one. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'

/** Removes the folder when `use` ends. */
export async function withScratch<Result>(
  use: (path: (name: string) => string) => Promise<Result>,
): Promise<Result> {
  const root = join(import.meta.dirname, '..', '.scratch')
  mkdirSync(root, { recursive: true })
  const folder = mkdtempSync(join(root, `bench-${process.pid}-`))
  try {
    return await use((name) => join(folder, name))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
