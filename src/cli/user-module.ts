/** Loads a module that the user names: the one import of the package whose module is not known when it is built. */
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { failure } from './failure.ts'

/** Its exports by name. @throws CommandError saying why it cannot be loaded */
export async function loadUserModule(flag: string, file: string): Promise<Record<string, unknown>> {
  try {
    return (await import(pathToFileURL(resolve(file)).href)) as Record<string, unknown>
  } catch (error) {
    throw failure(
      `${flag} ${file} cannot be loaded: ${error instanceof Error ? error.message : String(error)}`,
    )
  }
}
