/** Counts what runs, so that a gateway can end when nothing does. */
export class Running {
  #count = 0
  #whenIdle: (() => void)[] = []

  enter(parts: number): void {
    this.#count += parts
  }

  leave(): void {
    this.#count -= 1
    if (this.#count > 0) return
    for (const resolve of this.#whenIdle.splice(0)) resolve()
  }

  /** Resolves when nothing runs, or the time is over. */
  idle(timeoutMs: number): Promise<void> {
    if (this.#count === 0) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs)
      this.#whenIdle.push(() => {
        clearTimeout(timer)
        resolve()
      })
    })
  }
}
