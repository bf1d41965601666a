/** Generates Prisma's client for one database, as its users do. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '../..')

type Provider = 'postgresql' | 'mysql' | 'sqlite'

const orders = `
model Order {
  id       Int    @id @default(autoincrement())
  customer String

  @@map("orders")
}
`

const schemaOf = (provider: Provider, models: string): string => `
generator client {
  provider               = "prisma-client"
  output                 = "./client"
  importFileExtension    = "ts"
  generatedFileExtension = "ts"
}

datasource db {
  provider = "${provider}"
}

${models}`

export interface GeneratedClient {
  /** The folder of the schema; the client is in `client/client.ts`. */
  readonly folder: string
  remove(): void
}

/** Writes the client into a folder of the project, so that it finds `@prisma/client`. */
export function generateClient(provider: Provider, models: string = orders): GeneratedClient {
  mkdirSync(join(root, '.scratch'), { recursive: true })
  const folder = mkdtempSync(join(root, '.scratch', 'prisma-'))
  const schema = join(folder, 'schema.prisma')
  writeFileSync(schema, schemaOf(provider, models))
  const cli = join(root, 'node_modules/prisma/build/index.js')
  const run = spawnSync(process.execPath, [cli, 'generate', '--schema', schema, '--no-hints'], {
    encoding: 'utf8',
    cwd: folder,
    // Generating needs no schema engine, but its command downloads one where none is named.
    env: { ...process.env, PRISMA_SCHEMA_ENGINE_BINARY: process.execPath, CHECKPOINT_DISABLE: '1' },
  })
  if (run.status !== 0) throw new Error(`prisma generate failed: ${run.stdout}${run.stderr}`)
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) }
}
