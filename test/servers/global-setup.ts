/** Starts the database servers once for all test files. */
import type { TestProject } from 'vitest/node'
import { provideServer, type ServerName, serverNames } from '../../scripts/servers.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    servers: Readonly<Record<ServerName, string>>
  }
}

export async function setup(project: TestProject): Promise<() => Promise<void>> {
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
