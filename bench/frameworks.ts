/** What the layer costs where a handler does a millisecond of work, in each framework. */
import { withChildren } from './child.ts'
import { measureFrameworks } from './http.ts'
import type { Question } from './rounds.ts'

const frameworks = ['express', 'fastify', 'koa', 'hono', 'h3', 'elysia', 'nest', 'next', 'fetch', 'node']
const workMs = 1

export const question: Question = {
  asks: 'a keyed POST whose handler works for 1 ms against the bare handler, on the memory store',
  measure: (pace) =>
    withChildren((start) =>
      measureFrameworks(start, pace, frameworks, workMs, () => ({
        fresh: { 1: 0.7, 64: 0.7 },
        replay: { 1: 1, 64: 1 },
      })),
    ),
}
