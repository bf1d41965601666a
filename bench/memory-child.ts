/** Runs fresh operations on a bounded memory store and tells its parent the heap after each fifth of them. */
import { once } from 'node:events'
import { createIdempotency, memoryStore } from '../src/index.ts'
import type { HeapReport } from './memory.ts'
import { quantile } from './rounds.ts'

const [, , operations = '', recordsMax = ''] = process.argv
const slice = Number(operations) / 5
const callers = 64
const idem = createIdempotency({ store: memoryStore({ recordsMax: Number(recordsMax) }), sweep: false })
const charge = idem.operation('charge', (input: { amount: number }) => ({ id: 'ch_3PqT1x', ...input }))

let made = 0
// A plain array would grow in the heap that is measured.
const latencies = new Float64Array(slice)

async function runSlice(end: number): Promise<void> {
  while (made < end) {
    const at = made++
    const start = performance.now()
    await charge.run({ key: `key-${at}`, principal: 'merchant-7', input: { amount: at } })
    latencies[at % slice] = performance.now() - start
  }
}

process.on('disconnect', () => process.exit())
let asked = once(process, 'message')
process.send?.({ ready: true })
for (let end = slice; end <= Number(operations); end += slice) {
  await asked
  asked = once(process, 'message')
  const start = performance.now()
  await Promise.all(Array.from({ length: callers }, () => runSlice(end)))
  const perSecond = (slice * 1000) / (performance.now() - start)
  globalThis.gc?.()
  const heapBytes = process.memoryUsage().heapUsed
  const sorted = [...latencies.toSorted()]
  const report: HeapReport = {
    operations: end,
    heapBytes,
    perSecond,
    p50Ms: quantile(sorted, 0.5),
    p99Ms: quantile(sorted, 0.99),
  }
  process.send?.(report)
}
