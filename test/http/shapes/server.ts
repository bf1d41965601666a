/** What every server of the fidelity suite shares: its gate, its counts, and the start and end of it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { createIdempotency, type Idempotency } from '../../../src/engine/idempotency.ts'
import { memoryStore } from '../../../src/stores/memory.ts'
import { type FidelityServer, fidelityContent } from '../../../src/verification/http-fidelity.ts'

/** One server's counts and gate. */
export class ShapeState {
  readonly runs: Record<string, number> = {}
  readonly #gate = Promise.withResolvers<void>()

  /** Counts a run of a guarded handler. */
  ran(shape: string): void {
    this.runs[shape] = (this.runs[shape] ?? 0) + 1
  }

  open(): void {
    this.#gate.resolve()
  }

  /** Settles when the gate is open. */
  get opened(): Promise<void> {
    return this.#gate.promise
  }
}

/** A server that listens, and how it ends. */
export interface RunningShapes extends FidelityServer {
  close(): Promise<unknown>
}

/**
 * Starts a server at the first case that asks and ends it after the file's last one. `start` gets an instance on a
 * store of its own, the state, and the path of the file that the shape `file` sends.
 */
export function sharedServer(
  start: (idem: Idempotency, state: ShapeState, file: string) => Promise<RunningShapes>,
): () => Promise<FidelityServer> {
  const folder = mkdtempSync(join(tmpdir(), 'shapes-'))
  const file = join(folder, 'receipt.txt')
  writeFileSync(file, fidelityContent.file)
  const idem = createIdempotency({ store: memoryStore(), sweep: false })
  let running: Promise<RunningShapes> | undefined
  afterAll(async () => {
    await (await running)?.close()
    // Not waited for: the run of `thrown-late` counts as given up only after a time of silence.
    void idem.close()
    rmSync(folder, { recursive: true })
  })
  return () => (running ??= start(idem, new ShapeState(), file))
}
