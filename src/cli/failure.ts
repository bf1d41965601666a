/** How the command line fails: a message for people, and an exit code for scripts. */

/** Exit codes: 0 ok, 1 failure, 2 wrong use (flags or configuration). */
export const exitCodes = { ok: 0, failure: 1, usage: 2 } as const

/** A command that cannot do what it was told; `lines` are shown, nothing else. */
export class CommandError extends Error {
  override readonly name = 'CommandError' as const
  readonly exitCode: 1 | 2
  readonly lines: readonly string[]
  constructor(exitCode: 1 | 2, lines: readonly string[]) {
    super(lines.join('\n'))
    this.exitCode = exitCode
    this.lines = lines
  }
}

export function usageError(...lines: string[]): CommandError {
  return new CommandError(exitCodes.usage, lines)
}

export function failure(...lines: string[]): CommandError {
  return new CommandError(exitCodes.failure, lines)
}
