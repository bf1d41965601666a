/** `/.retrysafe/health`: whether protected requests can be answered now. */
import { randomBytes } from 'node:crypto'
import type { HeaderLine } from '../core/outcome.ts'
import type { RecordId } from '../core/record.ts'
import type { IdempotencyStore } from '../core/store.ts'
import type { Exchange } from './exchange.ts'

const answerWithinMs = 2_000

/** Answers 200 where the store answers, otherwise 503. */
export async function answerHealth(store: IdempotencyStore, exchange: Exchange): Promise<void> {
  const healthy = await storeAnswers(store)
  const body = Buffer.from(`${JSON.stringify({ status: healthy ? 'ok' : 'store-unavailable' })}\n`)
  const headers: HeaderLine[] = [
    ['Content-Type', 'application/json'],
    ['Cache-Control', 'no-store'],
  ]
  exchange.send(healthy ? 200 : 503, headers, body)
}

async function storeAnswers(store: IdempotencyStore): Promise<boolean> {
  const late = Promise.withResolvers<false>()
  const timer = setTimeout(() => late.resolve(false), answerWithinMs)
  const absent = randomBytes(16).toString('base64url') as RecordId
  const asked = Promise.resolve()
    .then(() => store.read([absent]))
    .then(
      () => true,
      () => false,
    )
  const healthy = await Promise.race([asked, late.promise])
  clearTimeout(timer)
  return healthy
}
