/**
 * Faults that somebody could have written: each changes one place of the sources (or of the simulated world) and
 * must be caught within its budget. The numbers are those of the list that the project was planned with; 35 to 39
 * are bugs that were found, so that each of them stays caught; from 40 on they are of stores that came later.
 */
import type { ServerName } from '../../../scripts/servers.ts'
import type { SimModeName } from '../../../src/verification/simulator/index.ts'

export interface Edit {
  /** From the root of the project. */
  readonly file: string
  /** Occurs exactly once. */
  readonly find: string
  readonly replace: string
}

export interface Mutant {
  readonly number: number
  readonly name: string
  readonly edits: readonly Edit[]
  readonly caughtBy:
    | { readonly kind: 'simulator'; readonly mode: SimModeName; readonly seeds: number }
    /** Tests that must fail, by file and part of their names. */
    | { readonly kind: 'tests'; readonly file: string; readonly name: string; readonly server?: ServerName }
}

/** Of the list, what cannot be planted yet, with the reason. */
export const notYet: Readonly<Record<number, string>> = {
  29: 'an outbox cursor by id: there is no outbox yet',
}

const verbs = 'src/core/record-verbs.ts'
const transitions = 'src/core/transitions.ts'
const contest = 'src/engine/contest.ts'
const leaseMode = 'src/engine/lease-mode.ts'
const leaseAttempt = 'src/engine/lease-attempt.ts'
const operation = 'src/engine/operation.ts'
const transactionMode = 'src/engine/transaction-mode.ts'
const simulator = 'src/verification/simulator'

const redisScripts = 'src/stores/redis/scripts.ts'
const dynamodbRequests = 'src/stores/dynamodb/requests.ts'

/** One client library is enough: what is planted is in the server's scripts. */
const onRedis = (name: string): Mutant['caughtBy'] => ({
  kind: 'tests',
  file: 'test/stores/redis-conformance.test.ts',
  name: `redis on iovalkey: ${name}`,
  server: 'redis',
})
const onDynamodb = (name: string): Mutant['caughtBy'] => ({
  kind: 'tests',
  file: 'test/stores/dynamodb-conformance.test.ts',
  name,
  server: 'dynamodb',
})

const seeds = 2_000
const inMode = (mode: SimModeName, budget: number = seeds): Mutant['caughtBy'] => ({
  kind: 'simulator',
  mode,
  seeds: budget,
})

export const mutants: readonly Mutant[] = [
  {
    number: 1,
    name: 'check, then insert',
    edits: [
      {
        file: verbs,
        find: "if (found !== undefined) return { reply: { kind: 'found', record: found } }",
        replace:
          "if (found !== undefined && found.phase !== 'running') return { reply: { kind: 'found', record: found } }",
      },
    ],
    caughtBy: inMode('hold'),
  },
  {
    number: 2,
    name: 'settling without looking at the token',
    edits: [
      {
        file: verbs,
        find: "if (found?.phase !== 'running' || found.token !== settlement.token) {",
        replace: "if (found?.phase !== 'running') {",
      },
      {
        file: verbs,
        find: 'const { id, fingerprint, token, fence, operation, principalTag, createdAt } = running',
        replace:
          'const { id, fingerprint, fence, operation, principalTag, createdAt } = running; const { token } = settlement',
      },
    ],
    caughtBy: inMode('rerun'),
  },
  {
    number: 3,
    name: 'a takeover keeps the fence',
    edits: [{ file: verbs, find: 'const fence = found.fence + 1', replace: 'const fence = found.fence' }],
    caughtBy: inMode('rerun'),
  },
  {
    number: 4,
    name: 'leases judged by the clock of the application',
    edits: [
      {
        file: verbs,
        find: "return record.phase === 'running' && now < record.leaseUntil",
        replace: 'return false',
      },
      {
        file: `${simulator}/store.ts`,
        find: 'for (const [at, reply] of answer.replies.entries()) this.#notice(claims[at], reply, answer.now)\n      return answer',
        replace: 'return { ...answer, now: this.#process.runtime.clock.now() }',
      },
    ],
    caughtBy: inMode('rerun'),
  },
  {
    number: 5,
    name: 'an unknown commit counts as failed',
    edits: [
      {
        file: transactionMode,
        find: 'const found = await resolveUnknownCommit(call, store, { claim, sentAt, error: end.error })\n      if (found !== undefined) return end.value',
        replace: 'void sentAt',
      },
    ],
    caughtBy: inMode('transaction'),
  },
  {
    number: 6,
    name: 'an unknown commit counts as success',
    edits: [
      {
        file: transactionMode,
        find: 'const found = await resolveUnknownCommit(call, store, { claim, sentAt, error: end.error })\n      if (found !== undefined) return end.value',
        replace: 'if (sentAt >= 0) return end.value',
      },
    ],
    caughtBy: inMode('transaction'),
  },
  {
    number: 7,
    name: 'record first, effect second',
    edits: [
      {
        file: `${simulator}/shop.ts`,
        find: '    await tx.insert(effect)\n',
        replace:
          "    this.#process.runtime.timers.after(200, () => void this.#askService('effect', () => this.#service.apply(effect)).catch(() => {}))\n",
      },
    ],
    caughtBy: inMode('transaction'),
  },
  {
    number: 8,
    name: 'effect first, record second',
    edits: [
      {
        file: `${simulator}/shop.ts`,
        find: '    await tx.insert(effect)\n',
        replace: "    await this.#askService('effect', () => this.#service.apply(effect))\n",
      },
    ],
    caughtBy: inMode('transaction'),
  },
  {
    number: 9,
    name: 'a key that is not scoped to its principal',
    edits: [
      {
        file: 'src/core/scope.ts',
        find: "digestOf(digest, ['record', namespace, principal, operation, key])",
        replace: "digestOf(digest, ['record', namespace, operation, key])",
      },
    ],
    caughtBy: inMode('transaction'),
  },
  {
    number: 10,
    name: 'fingerprints are not compared',
    edits: [
      {
        file: transitions,
        find: "if (found.fingerprint !== claimer.fingerprint) return { kind: 'mismatch' }",
        replace: '',
      },
    ],
    caughtBy: inMode('hold'),
  },
  {
    number: 11,
    name: 'fingerprints are compared when completed only',
    edits: [
      {
        file: transitions,
        find: "if (found.fingerprint !== claimer.fingerprint) return { kind: 'mismatch' }",
        replace:
          "if (found.phase === 'completed' && found.fingerprint !== claimer.fingerprint) return { kind: 'mismatch' }",
      },
    ],
    caughtBy: inMode('rerun'),
  },
  {
    number: 12,
    name: 'finally { release }',
    edits: [
      {
        file: operation,
        find: "const settled = await attempt.complete({ kind: 'value', value })",
        replace: 'const settled = await attempt.release()',
      },
    ],
    caughtBy: inMode('hold'),
  },
  {
    number: 13,
    name: 'an own claim counts as somebody else’s',
    edits: [
      {
        file: transitions,
        find: "if (found.phase === 'running' && found.token === claimer.token) return { kind: 'hold', fence: found.fence }",
        replace: '',
      },
    ],
    caughtBy: inMode('hold'),
  },
  {
    number: 14,
    name: 'no takeover when a lease is over',
    edits: [
      {
        file: transitions,
        find: "if (now < found.leaseUntil) return { kind: 'in-progress'",
        replace: "if (now < Number.POSITIVE_INFINITY) return { kind: 'in-progress'",
      },
    ],
    caughtBy: inMode('rerun'),
  },
  {
    number: 15,
    name: 'a retention that is shorter than retries',
    edits: [
      {
        file: leaseAttempt,
        find: '        retentionMs: this.#policy.retentionMs,\n        tombstoneMs',
        replace: '        retentionMs: this.#policy.retentionMs / 3_600,\n        tombstoneMs',
      },
    ],
    caughtBy: inMode('hold'),
  },
  {
    number: 16,
    name: 'a duplicate in progress gets an empty success',
    edits: [
      {
        file: operation,
        find: "return end.kind === 'replay' ? resultOf('replayed', end.outcome) : end",
        replace:
          "return end.kind === 'replay' ? resultOf('replayed', end.outcome) : end.kind === 'in-progress' ? ({ kind: 'replayed', value: '' } as never) : end",
      },
    ],
    caughtBy: inMode('hold'),
  },
  {
    number: 17,
    name: 'a replay makes new ids',
    edits: [
      {
        file: operation,
        find: 'return { kind, value: outcome.value as Output }',
        replace:
          "return { kind, value: (kind === 'replayed' ? `${String(outcome.value)}-again` : outcome.value) as Output }",
      },
    ],
    caughtBy: inMode('hold'),
  },
  {
    number: 18,
    name: 'a failure that passes is stored for good',
    edits: [
      {
        file: operation,
        find: 'return await attempt.release()',
        replace: 'return await attempt.complete(asErrorOutcome(error))',
      },
    ],
    caughtBy: inMode('hold'),
  },
  {
    number: 19,
    name: 'seconds compared with milliseconds',
    edits: [
      {
        file: transitions,
        find: "if (now < found.leaseUntil) return { kind: 'in-progress'",
        replace: "if (now < found.leaseUntil / 1_000) return { kind: 'in-progress'",
      },
      {
        file: verbs,
        find: "return record.phase === 'running' && now < record.leaseUntil",
        replace: "return record.phase === 'running' && now < record.leaseUntil / 1_000",
      },
    ],
    caughtBy: inMode('rerun'),
  },
  {
    number: 20,
    name: 'releasing without looking at the token',
    edits: [
      {
        file: verbs,
        find: "if (found?.phase !== 'running' || found.token !== settlement.token) {",
        replace:
          "if (found?.phase !== 'running' || (settlement.to !== 'released' && found.token !== settlement.token)) {",
      },
    ],
    caughtBy: inMode('rerun', 20_000),
  },
  {
    number: 21,
    name: 'a handler starts when its lease is over',
    edits: [
      {
        file: leaseMode,
        find: 'return leftMs < call.policy.leaseMs * leasePartAtStart',
        replace: 'return leftMs === Number.NEGATIVE_INFINITY',
      },
    ],
    caughtBy: inMode('rerun', 20_000),
  },
  {
    number: 22,
    name: 'the time of the transaction for the time of the statement',
    edits: [
      {
        file: 'src/stores/postgres/statements.ts',
        find: 'statement_timestamp()) * 1000',
        replace: 'transaction_timestamp()) * 1000',
      },
    ],
    caughtBy: {
      kind: 'tests',
      file: 'test/stores/postgres-conformance.test.ts',
      name: 'time goes on inside a transaction',
      server: 'postgres',
    },
  },
  {
    number: 23,
    name: 'Redis: GET, then SET',
    edits: [
      {
        file: redisScripts,
        find: 'const claim: Verb = (parts, isWaited) => `\n  if found then',
        replace: 'const claim: Verb = (parts, isWaited) => `\n  if false then',
      },
      {
        file: 'src/stores/redis/verbs.ts',
        find: 'return runVerb(runner, runner.scripts.claim, claimVerb, claims)',
        replace: `return read(runner, claims.map(({ id }) => id)).then(async ({ now, replies: seen }) => {
    const free = claims.filter((_, at) => seen[at] === undefined)
    const made = free.length === 0 ? [] : [...(await runVerb(runner, runner.scripts.claim, claimVerb, free)).replies]
    return { now, replies: seen.map((record) => (record === undefined ? made.shift()! : { kind: 'found', record })) }
  })`,
      },
    ],
    caughtBy: onRedis('of many concurrent claims'),
  },
  {
    number: 24,
    name: 'claims read from a replica',
    edits: [
      {
        file: `${simulator}/database.ts`,
        find: 'change(this.#records.get(id), item, now)',
        replace:
          'change(this.#log.findLast((logged) => logged.id === id && logged.time <= this.#world.time - 100)?.after, item, now)',
      },
    ],
    caughtBy: inMode('hold'),
  },
  {
    number: 25,
    name: 'a connection goes back to the pool after a failed COMMIT',
    edits: [
      {
        file: 'src/stores/postgres/transactions.ts',
        find: 'session.release(!sound)',
        replace: 'session.release(false)',
      },
    ],
    caughtBy: {
      kind: 'tests',
      file: 'test/stores/postgres-failures.test.ts',
      name: 'never answered',
      server: 'postgres',
    },
  },
  {
    number: 26,
    name: 'retention counted from the claim',
    edits: [
      {
        file: verbs,
        find: 'const retainUntil = now + settlement.retentionMs',
        replace: 'const retainUntil = running.createdAt + settlement.retentionMs',
      },
    ],
    caughtBy: inMode('hold', 20_000),
  },
  {
    number: 27,
    name: 'a stored Set-Cookie is replayed',
    edits: [{ file: 'src/http/headers.ts', find: "  'set-cookie',\n", replace: '' }],
    caughtBy: { kind: 'tests', file: 'test/http/conformance.node.test.ts', name: 'ookie' },
  },
  {
    number: 28,
    name: 'a consumer acknowledges before the commit',
    edits: [
      {
        file: `${simulator}/simulate.ts`,
        find: "      const ended = await this.#ask(ask)\n      if (ended === 'ok') this.#acknowledge(ask)\n",
        replace: '      this.#acknowledge(ask)\n      const ended = await this.#ask(ask)\n',
      },
    ],
    caughtBy: inMode('transaction'),
  },
  {
    number: 30,
    name: 'the sweep ignores live leases',
    edits: [
      {
        file: verbs,
        find: "if (now >= removableFrom(found)) return 'remove'",
        replace: "if (found.phase === 'running' || now >= removableFrom(found)) return 'remove'",
      },
    ],
    caughtBy: inMode('rerun'),
  },
  {
    number: 31,
    name: 'single flight without the principal',
    edits: [
      {
        file: 'src/engine/idempotency.ts',
        find: 'id: recordId(digest, { namespace, principal, operation: given.scope }, parsed.key),',
        replace:
          'id: recordId(digest, { namespace, principal, operation: given.scope }, parsed.key),\n        flight: parsed.key,',
      },
      {
        file: 'src/engine/rounds.ts',
        find: 'const flight = call.flights.get(call.identity.id)',
        replace: 'const flight = call.flights.get((call.identity as any).flight)',
      },
      {
        file: 'src/engine/rounds.ts',
        find: 'takeOff(call.flights, call.identity.id, call.fingerprint)',
        replace: 'takeOff(call.flights, (call.identity as any).flight, call.fingerprint)',
      },
    ],
    caughtBy: inMode('hold'),
  },
  {
    number: 32,
    name: 'a new key for each attempt of a call',
    edits: [
      {
        file: 'src/client/fetch.ts',
        find: 'send: (attempt) => exchange(',
        replace: 'send: (attempt) => (headers.set(keyHeader, keyField(newKey(), keyFormat)), 0) || exchange(',
      },
    ],
    caughtBy: {
      kind: 'tests',
      file: 'test/client/fetch.test.ts',
      name: 'is new for each call, and one for all attempts of a call',
    },
  },
  {
    number: 33,
    name: 'the handler runs although the store is away',
    edits: [
      {
        file: leaseMode,
        find: '    abandon(call, claim)\n    throw new StoreUnavailableError({ cause: error })',
        replace: "    return { kind: 'won', fence: 1, reconcile: false, claim, deadline }",
      },
    ],
    caughtBy: inMode('hold'),
  },
  {
    number: 34,
    name: 'an unknown commit is settled by reading again',
    edits: [
      {
        file: transactionMode,
        find: `const end = await store.transaction(
        (_tx, records) => lookInto(call, singly(records), lost.claim, probe),
        probe,
      )`,
        replace: `const [record] = (await store.read([id])).replies
      const value = record?.token === lost.claim.token ? record : undefined
      const end = { kind: 'rolled-back', value } as any`,
      },
    ],
    caughtBy: inMode('transaction'),
  },
  {
    number: 35,
    name: 'a takeover counts the token only, and not the phase that was seen',
    edits: [{ file: verbs, find: 'found.phase !== seenPhase || isLive', replace: 'isLive' }],
    caughtBy: inMode('rerun', 20_000),
  },
  {
    number: 36,
    name: 'a takeover whose answer was lost forgets to reconcile',
    edits: [
      {
        file: contest,
        find: 'asked.replacesUnknown ||= decision.reconcile',
        replace: 'asked.replacesUnknown = false',
      },
      {
        file: contest,
        find: "return { kind: 'won', fence: reply.fence, reconcile: asked.replacesUnknown }",
        replace: "return { kind: 'won', fence: reply.fence, reconcile: decision.reconcile }",
      },
    ],
    caughtBy: inMode('reconcile'),
  },
  {
    number: 37,
    name: 'a handler starts after reconcile, however long that took',
    edits: [
      {
        file: leaseMode,
        find: 'if (adopted === undefined) return await startAfterAll(call, claim, attempt)',
        replace: "if (adopted === undefined) return { kind: 'run', attempt }",
      },
    ],
    caughtBy: inMode('reconcile', 20_000),
  },
  {
    number: 38,
    name: 'looking into a commit leaves its own claim running',
    edits: [
      {
        file: transactionMode,
        find: "if (reply.kind === 'claimed') return { kind: 'commit', value: undefined, settlement: released }",
        replace: "if (reply.kind === 'claimed') return { kind: 'commit', value: undefined }",
      },
    ],
    caughtBy: inMode('transaction'),
  },
  {
    number: 39,
    name: 'an absent record shows after its retention that a commit never was',
    edits: [
      {
        file: transactionMode,
        find: 'const retentionPartMax = 0.5',
        replace: 'const retentionPartMax = 1e9',
      },
    ],
    caughtBy: inMode('transaction', 20_000),
  },
  {
    number: 40,
    name: 'Redis: settling without looking at the token',
    edits: [
      {
        file: redisScripts,
        find: ' ~= 17 or string.sub(found, 18, 33) ~= string.sub(item, 2, 17)',
        replace: ' ~= 17',
      },
    ],
    caughtBy: onRedis('every verb on a record that is running, lease live'),
  },
  {
    number: 41,
    name: 'Redis: a takeover ignores a live lease',
    edits: [
      {
        file: redisScripts,
        find: "(string.byte(found, 1) == 17 and ${number('found', 2, 6)} + ${number('found', 34, 6)} > now)",
        replace: 'false',
      },
    ],
    caughtBy: onRedis('every verb on a record that is running, lease live'),
  },
  {
    number: 42,
    name: 'Redis: renewing without looking at the token',
    edits: [
      {
        file: redisScripts,
        find: ' ~= 17 or string.sub(found, 18, 33) ~= string.sub(item, 1, 16) then',
        replace: ' ~= 17 then',
      },
    ],
    caughtBy: onRedis('every verb on a record that is running, lease live'),
  },
  {
    number: 43,
    name: 'Redis: a claim overwrites what it finds',
    edits: [
      {
        file: redisScripts,
        find: 'const claim: Verb = (parts, isWaited) => `\n  if found then',
        replace: 'const claim: Verb = (parts, isWaited) => `\n  if false then',
      },
    ],
    caughtBy: onRedis('every verb on a record that is completed, retained'),
  },
  {
    number: 44,
    name: 'Redis: a takeover keeps the fence',
    edits: [
      { file: redisScripts, find: "${number('found', 14, 4)} + 1)", replace: "${number('found', 14, 4)})" },
    ],
    caughtBy: onRedis('the fence grows by one'),
  },
  {
    number: 45,
    name: 'DynamoDB: settling without looking at the token',
    edits: [
      {
        file: dynamodbRequests,
        find: 'UpdateExpression: `SET ${set}`,\n    ConditionExpression: isHeld,',
        replace:
          'UpdateExpression: `SET ${set}`,\n    ConditionExpression: `attribute_exists(#token) OR (${isHeld})`,',
      },
    ],
    caughtBy: onDynamodb('every verb on a record that is running, lease live'),
  },
  {
    number: 46,
    name: 'DynamoDB: a takeover ignores a live lease',
    edits: [
      {
        file: dynamodbRequests,
        find: '#sureUntil <= :now)',
        replace: '#sureUntil <= :now OR #sureUntil > :now)',
      },
    ],
    caughtBy: onDynamodb('every verb on a record that is running, lease live'),
  },
  {
    number: 47,
    name: 'DynamoDB: a claim overwrites what it finds',
    edits: [
      {
        file: dynamodbRequests,
        find: "const absent = 'attribute_not_exists(#id)'",
        replace: "const absent = 'attribute_not_exists(#id) OR attribute_exists(#id)'",
      },
    ],
    caughtBy: onDynamodb('of many concurrent claims'),
  },
  {
    number: 48,
    name: 'DynamoDB: a transaction writes its record whatever is there',
    edits: [
      {
        file: dynamodbRequests,
        find: "case 'absent':\n      return { ...put, ConditionExpression: absent, ExpressionAttributeNames: names(keyAttribute) }",
        replace: "case 'absent':\n      return put",
      },
    ],
    caughtBy: {
      kind: 'tests',
      file: 'test/stores/dynamodb-transactions.test.ts',
      name: 'of which two run at once in two processes',
      server: 'dynamodb',
    },
  },
  {
    number: 49,
    name: 'a tier answers after the retention',
    edits: [
      {
        file: 'src/stores/tiered/durable-clock.ts',
        find: 'return this.#heardNow + readingMs + sinceMs * (1 + driftPart)',
        replace: 'void [readingMs, driftPart, sinceMs]\n    return this.#heardNow',
      },
    ],
    caughtBy: { kind: 'tests', file: 'test/stores/tiered-hostile.test.ts', name: 'a hostile tier' },
  },
  {
    number: 50,
    name: 'a damaged entry of a tier is answered',
    edits: [
      {
        file: 'src/stores/tiered/entries.ts',
        find: 'return isWhole && check === checkOf(record as unknown as CompletedRecord, seenAt as number)',
        replace: 'return isWhole',
      },
    ],
    caughtBy: { kind: 'tests', file: 'test/stores/tiered-hostile.test.ts', name: 'a hostile tier' },
  },
  {
    number: 51,
    name: 'settling makes a record that is gone anew',
    edits: [
      {
        file: verbs,
        find: "if (found?.phase !== 'running' || found.token !== settlement.token) {",
        replace: `if (found === undefined) {
    const gone = { fingerprint: '', fence: 1, operation: '', principalTag: '', createdAt: now }
    return { reply: { kind: 'settled' }, write: settledRecord({ ...settlement, ...gone } as never, settlement, now) }
  }
  if (found?.phase !== 'running' || found.token !== settlement.token) {`,
      },
    ],
    caughtBy: inMode('hold-on-a-store-that-evicts'),
  },
  {
    number: 52,
    name: 'renewing makes a record that is gone anew',
    edits: [
      {
        file: verbs,
        find: "if (found?.phase !== 'running' || found.token !== token) return { reply: { kind: 'lost' } }",
        replace: `if (found === undefined) {
    const gone = { fingerprint: '', fence: 1, operation: '', principalTag: '', createdAt: now, leaseUntil: 0, retentionMs: 1e9 }
    return { reply: { kind: 'renewed' }, write: { ...gone, phase: 'running', token, leaseUntil: now + leaseMs } as never }
  }
  if (found?.phase !== 'running' || found.token !== token) return { reply: { kind: 'lost' } }`,
      },
    ],
    caughtBy: inMode('rerun-on-a-store-that-evicts'),
  },
  {
    number: 53,
    name: 'a settle whose record is gone counts as settled',
    edits: [
      {
        file: leaseAttempt,
        find: "if (reply.kind === 'settled' || ",
        replace: "if (reply.kind === 'settled' || reply.record === undefined || ",
      },
    ],
    caughtBy: inMode('hold-on-a-store-that-evicts'),
  },
  {
    number: 54,
    name: 'a refused commit counts as applied',
    edits: [
      {
        file: transactionMode,
        find: 'const end = await store.transaction(work, claim)\n',
        replace:
          'let asked: any\n  const end = await store.transaction(async (tx, records) => (asked = await work(tx, records)), claim)\n',
      },
      {
        file: transactionMode,
        find: 'return await lookAtWinner(call, store, claim)',
        replace: 'return asked.value',
      },
    ],
    caughtBy: inMode('transaction-without-locks'),
  },
  {
    number: 55,
    name: 'who was refused at the commit runs its handler again',
    edits: [
      {
        file: transactionMode,
        find: 'return await lookAtWinner(call, store, claim)',
        replace: 'return await inTransaction(call, store, claim, work)',
      },
    ],
    caughtBy: inMode('transaction-without-locks', 20_000),
  },
  {
    number: 56,
    name: 'a commit without locks does not look at what was read',
    edits: [
      {
        file: `${simulator}/database.ts`,
        find: "if (!isAsSeen(found, seen, this.now)) return { kind: 'refused', id, found }",
        replace: 'void [found, seen]',
      },
    ],
    caughtBy: inMode('transaction-without-locks'),
  },
  {
    number: 57,
    name: 'without locks, an unknown commit is settled by reading again',
    edits: [
      {
        file: transactionMode,
        find: "if (reply.kind === 'claimed') return { kind: 'commit', value: undefined, settlement: released }",
        replace: "if (reply.kind === 'claimed') return notApplied",
      },
    ],
    caughtBy: inMode('transaction-without-locks'),
  },
]
