/** A bound on how long somebody is waited for. */

/** What was asked for, or `late()` as an error after `msMax`. What comes after that is dropped. */
export function inTime<Value>(asked: Promise<Value>, msMax: number, late: () => Error): Promise<Value> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(late()), msMax)
    asked.then(
      (value) => {
        clearTimeout(timer)
        resolve(value)
      },
      (error: unknown) => {
        clearTimeout(timer)
        reject(error)
      },
    )
  })
}
