/** Starts the database servers once for all test files, installs the browser, and sets what all test processes inherit. */
import { statfsSync } from 'node:fs'
import { freemem } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { hasChromium } from '../../scripts/servers/chromium.ts'
import { provideServer, type ServerName, serverNames } from '../../scripts/servers.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    servers: Readonly<Record<ServerName, string>>
  }
}

const cache = join(import.meta.dirname, '../../node_modules/.cache')
const memoryFolder = '/dev/shm'
const memoryBytesMin = 6 * 1024 ** 3

/** A disk that stands still for seconds under a whole machine's writes would fail tests that say nothing of it. */
function hasMemoryFolder(): boolean {
  try {
    const { bavail, bsize } = statfsSync(memoryFolder)
    return Math.min(bavail * bsize, freemem()) > memoryBytesMin
  } catch {
    return false
  }
}

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  if (hasMemoryFolder()) process.env['RETRYSAFE_SERVERS_FOLDER'] ??= memoryFolder
  // Hundreds of tests start programs; most of a start is compiling the same sources.
  process.env['NODE_COMPILE_CACHE'] ??= join(cache, 'node')
  // Here, so that no worker finds one that another is still installing.
  hasChromium()
  const provided = await Promise.all(serverNames.map(provideServer))
  const urls = Object.fromEntries(
    provided.map((server, at) => [serverNames[at], server.kind === 'server' ? server.url : '']),
  )
  project.provide('servers', urls as Record<ServerName, string>)
  for (const [at, server] of provided.entries()) {
    if (server.kind === 'none') console.log(`not tested: ${serverNames[at]} (${server.reason})`)
  }
  return async () => {
    await Promise.all(provided.map((server) => server.stop()))
  }
}
