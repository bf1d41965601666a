/** What the Nest adapter does, on any version and platform. */
import { mkdtempSync, rmSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { Readable } from 'node:stream'
import type { ArgumentsHost, CallHandler, ExecutionContext } from '@nestjs/common'
import { describe, expect, onTestFinished, test } from 'vitest'
import { StoreUnavailableError } from '../../../src/core/errors.ts'
import { createIdempotency } from '../../../src/engine/idempotency.ts'
import {
  IdempotencyAttempt,
  type IdempotencyContext,
  Idempotent,
  type TransactionContext,
} from '../../../src/http/nest.ts'
import { sqliteStore } from '../../../src/stores/sqlite.ts'
import { codeOf, instance, post } from '../serving.ts'
import { controllerOf, idempotencyModule, type NestUnderTest, startNest } from './serving.ts'

/** What both platforms have. */
interface Reply {
  status(code: number): Reply
  header(name: string, value: string): Reply
  send(body: unknown): unknown
}

export function nestBehaviours(under: NestUnderTest): void {
  describe(under.name, () => {
    decisions(under)
    answers(under)
    interceptors(under)
    failures(under)
  })
}

function decisions(under: NestUnderTest): void {
  test('a replay passes guards as any request does: a caller who is revoked gets no answer of before', async () => {
    const nest = await under.load()
    let allowed = true
    const guard = { canActivate: () => allowed }
    const { origin, complaints } = await startNest(under, nest, {
      controllers: [controllerOf(nest, () => ({ made: true }), { method: [Idempotent()] })],
      providers: [{ provide: nest.core.APP_GUARD, useValue: guard }],
    })
    expect(await post(origin)).toMatchObject({ status: 201, replayed: false })
    expect(await post(origin)).toMatchObject({ status: 201, replayed: true })
    allowed = false
    expect(await post(origin)).toMatchObject({ status: 403, replayed: false })
    expect(complaints).toEqual([])
  })

  test('the principal is what a guard has put on the request', async () => {
    const nest = await under.load()
    const guard = {
      canActivate(context: ExecutionContext): boolean {
        const request = context
          .switchToHttp()
          .getRequest<{ headers: Record<string, string>; user?: string }>()
        const user = request.headers['x-user']
        if (user !== undefined) request.user = user
        return true
      },
    }
    let runs = 0
    const { origin } = await startNest(under, nest, {
      controllers: [controllerOf(nest, () => ({ run: ++runs }), { method: [Idempotent()] })],
      providers: [{ provide: nest.core.APP_GUARD, useValue: guard }],
      imports: [idempotencyModule({ principal: (request) => (request as { user?: string }).user })],
    })
    const as = (user: string) => post(origin, { headers: { 'X-User': user } })
    const bodies = [await as('a'), await as('b'), await as('a')].map(({ body }) => body.toString())
    expect(bodies).toEqual(['{"run":1}', '{"run":2}', '{"run":1}'])
    expect(await post(origin)).toMatchObject({ status: 401 })
  })

  test('refusals are problem documents without the fields that @Header() sets for the handler', async () => {
    const nest = await under.load()
    const { origin, complaints } = await startNest(under, nest, {
      controllers: [
        controllerOf(nest, () => 'a,b', {
          method: [Idempotent({ required: true }), nest.common.Header('Content-Disposition', 'attachment')],
        }),
      ],
    })
    expect((await post(origin)).headers.get('content-disposition')).toBe('attachment')
    expect((await post(origin)).headers.get('content-disposition')).toBe('attachment')
    const reused = await post(origin, { body: '{"amount":2}' })
    expect([reused.status, codeOf(reused)]).toEqual([422, 'key-reused'])
    expect(reused.headers.get('content-disposition')).toBeNull()
    const missing = await fetch(`${origin}/x`, { method: 'POST' })
    expect([missing.status, missing.headers.get('content-type')]).toEqual([400, 'application/problem+json'])
    expect(complaints).toEqual([])
  })

  test('with rawBody, integers beyond what a number holds are told apart', async () => {
    const nest = await under.load()
    const { origin } = await startNest(under, nest, {
      controllers: [controllerOf(nest, () => ({}), { method: [Idempotent()] })],
    })
    expect((await post(origin, { body: '{"id":9007199254740993}' })).status).toBe(201)
    expect((await post(origin, { body: '{"id":9007199254740992}' })).status).toBe(422)
    expect(await post(origin, { body: '{ "id": 9007199254740993 }' })).toMatchObject({ replayed: true })
  })

  test('the handler gets its attempt, and decides by it', async () => {
    const nest = await under.load()
    const handle = (attempt: IdempotencyContext | undefined): object => {
      attempt?.release()
      return { key: attempt?.key, fence: attempt?.fence, downstream: attempt?.downstreamKey('pay') }
    }
    const { origin } = await startNest(under, nest, {
      controllers: [
        controllerOf(nest, handle, { method: [Idempotent()], parameters: [IdempotencyAttempt()] }),
      ],
    })
    const first = JSON.parse((await post(origin)).body.toString()) as Record<string, unknown>
    const second = JSON.parse((await post(origin)).body.toString()) as Record<string, unknown>
    expect([first['key'], first['fence'], second['fence']]).toEqual(['k', 1, 2])
    expect(second['downstream']).toBe(first['downstream'])
    const unprotected = await fetch(`${origin}/x`, { method: 'POST' })
    expect(await unprotected.json()).toEqual({})
  })

  test('two modules, one in the other, run a request once', async () => {
    const nest = await under.load()
    let runs = 0
    const { origin, complaints } = await startNest(under, nest, {
      controllers: [controllerOf(nest, () => ({ run: ++runs }), { method: [Idempotent()] })],
      imports: [idempotencyModule(), idempotencyModule()],
    })
    expect(await post(origin)).toMatchObject({ status: 201, replayed: false })
    expect(await post(origin)).toMatchObject({ status: 201, replayed: true })
    expect([runs, complaints]).toEqual([1, []])
  })
}

function answers(under: NestUnderTest): void {
  test('a handler that sends by @Res() and returns a value too', async () => {
    const nest = await under.load()
    let runs = 0
    const handle = (reply: Reply): object => {
      runs++
      reply.status(202).header('X-App', '1').send({ sent: true })
      return { returned: true }
    }
    const { origin, complaints } = await startNest(under, nest, {
      controllers: [controllerOf(nest, handle, { method: [Idempotent()], parameters: [nest.common.Res()] })],
    })
    const first = await post(origin)
    const again = await post(origin)
    expect([first.status, first.body.toString(), first.replayed]).toEqual([202, '{"sent":true}', false])
    expect([again.status, again.body.toString(), again.replayed]).toEqual([202, '{"sent":true}', true])
    expect([again.headers.get('x-app'), runs, complaints]).toEqual(['1', 1, []])
  })

  test('Observables: the last value is the answer, and a replay asks for none', async () => {
    const nest = await under.load()
    let subscriptions = 0
    const { of, defer } = nest.rxjs
    const handle = () =>
      defer(() => {
        subscriptions++
        return of(1, 2, { last: true })
      })
    const { origin, complaints } = await startNest(under, nest, {
      controllers: [controllerOf(nest, handle, { method: [Idempotent()] })],
    })
    expect((await post(origin)).body.toString()).toBe('{"last":true}')
    expect(await post(origin)).toMatchObject({ status: 201, replayed: true })
    expect([subscriptions, complaints]).toEqual([1, []])
  })

  test('what a pipe refuses is an outcome of the request', async () => {
    const nest = await under.load()
    let asked = 0
    class Amount {
      transform(value: { amount: number }): object {
        asked++
        if (value.amount > 50) throw new nest.common.UnprocessableEntityException('too much')
        return value
      }
    }
    const { origin, complaints } = await startNest(under, nest, {
      controllers: [
        controllerOf(nest, (body: object) => body, {
          method: [Idempotent()],
          parameters: [nest.common.Body(new Amount())],
        }),
      ],
    })
    const first = await post(origin)
    const again = await post(origin)
    expect([first.status, first.replayed, again.status, again.replayed]).toEqual([422, false, 422, true])
    expect([again.body.equals(first.body), asked, complaints]).toEqual([true, 1, []])
  })

  test('what an exception filter makes of an error is recorded', async () => {
    const nest = await under.load()
    const filter = {
      catch(_error: unknown, host: ArgumentsHost): void {
        const reply = host.switchToHttp().getResponse<Reply>()
        reply.status(409).header('X-Filter', '1').send({ conflict: true })
      },
    }
    let runs = 0
    const handle = (): never => {
      runs++
      throw new Error('conflict')
    }
    const { origin, complaints } = await startNest(under, nest, {
      controllers: [controllerOf(nest, handle, { method: [Idempotent()] })],
      prepare: (app) => app.useGlobalFilters(filter),
    })
    const first = await post(origin)
    const again = await post(origin)
    expect([first.status, again.status, again.replayed]).toEqual([409, 409, true])
    expect([again.headers.get('x-filter'), again.body.toString()]).toEqual(['1', '{"conflict":true}'])
    expect([runs, complaints]).toEqual([1, []])
  })

  test('an answer that a layer further out sends late is not touched by Nest', async () => {
    const nest = await under.load()
    const { origin, complaints } = await startNest(under, nest, {
      controllers: [
        controllerOf(nest, () => undefined, { method: [Idempotent(), nest.common.HttpCode(201)] }),
      ],
      prepare(app) {
        // As sessions do, which are saved before the answer leaves.
        app.use((_request: object, response: ServerResponse, next: () => void) => {
          const end = response.end.bind(response) as (...given: unknown[]) => ServerResponse
          response.end = ((...given: unknown[]) => {
            setTimeout(() => end(...given), 20)
            return response
          }) as typeof response.end
          next()
        })
      },
    })
    await post(origin)
    const refused = await post(origin, { body: '{"amount":2}' })
    expect([refused.status, codeOf(refused)]).toEqual([422, 'key-reused'])
    expect(complaints).toEqual([])
  })
}

function interceptors(under: NestUnderTest): void {
  test('interceptors outside and inside of the decision', async () => {
    const nest = await under.load()
    const { map, tap, timeout } = nest.rxjs
    const seen: string[] = []
    const wrapping = (name: string) => ({
      intercept(_context: ExecutionContext, next: CallHandler) {
        seen.push(`${name} before`)
        return next.handle().pipe(
          timeout(10_000),
          map((value: unknown) => ({ [name]: value })),
          tap({ complete: () => seen.push(`${name} complete`) }),
        )
      },
    })
    const { origin, complaints } = await startNest(under, nest, {
      controllers: [
        controllerOf(nest, () => 'made', {
          method: [Idempotent(), nest.common.UseInterceptors(wrapping('inner'))],
        }),
      ],
      providers: [{ provide: nest.core.APP_INTERCEPTOR, useValue: wrapping('outer') }],
    })
    const first = await post(origin)
    expect(first.body.toString()).toBe('{"outer":{"inner":"made"}}')
    const order = ['outer before', 'inner before', 'inner complete', 'outer complete']
    expect(seen.splice(0)).toEqual(order)
    const again = await post(origin)
    expect([again.body.equals(first.body), again.replayed]).toEqual([true, true])
    expect(seen).toEqual(['outer before', 'outer complete'])
    expect(complaints).toEqual([])
  })

  test('an interceptor outside that cannot do with a replay disturbs only the log', async () => {
    const nest = await under.load()
    const careless = {
      intercept: (_context: ExecutionContext, next: CallHandler) =>
        next.handle().pipe(nest.rxjs.map((value: { id: number }) => ({ id: value.id }))),
    }
    const { origin, complaints } = await startNest(under, nest, {
      controllers: [controllerOf(nest, () => ({ id: 1 }), { method: [Idempotent()] })],
      providers: [{ provide: nest.core.APP_INTERCEPTOR, useValue: careless }],
    })
    const first = await post(origin)
    const again = await post(origin)
    expect([again.status, again.replayed, again.body.equals(first.body)]).toEqual([201, true, true])
    expect(complaints).toHaveLength(1)
  })
}

function failures(under: NestUnderTest): void {
  test('in a transaction, an error of the handler takes its writes back, and an answer commits them', async () => {
    const nest = await under.load()
    const folder = mkdtempSync(join(tmpdir(), 'nest-tx-'))
    const idem = createIdempotency({ store: sqliteStore({ file: join(folder, 'records.db') }), sweep: false })
    onTestFinished(async () => {
      await idem.close()
      rmSync(folder, { recursive: true })
    })
    let runs = 0
    const handle = ({ tx }: TransactionContext<DatabaseSync>): object => {
      runs++
      tx.exec('CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY)')
      tx.exec('INSERT INTO orders DEFAULT VALUES')
      if (runs === 1) throw new Error('boom')
      return { orders: tx.prepare('SELECT count(*) AS count FROM orders').get()?.['count'] }
    }
    const { origin } = await startNest(under, nest, {
      controllers: [
        controllerOf(nest, handle, { method: [Idempotent()], parameters: [IdempotencyAttempt()] }),
      ],
      imports: [idempotencyModule({ idem, transaction: true })],
    })
    expect((await post(origin)).status).toBe(500)
    expect((await post(origin)).body.toString()).toBe('{"orders":1}')
    expect(await post(origin)).toMatchObject({ status: 201, replayed: true })
    expect(runs).toBe(2)
  })

  test.each([
    ['default', 500, 2],
    ['money', 409, 1],
    ['stripe', 500, 1],
  ] as const)('preset %s: after a handler that threw, a retry gets %i', async (preset, status, runs) => {
    const nest = await under.load()
    let ran = 0
    const handle = (): never => {
      ran++
      throw new Error('boom')
    }
    const { origin } = await startNest(under, nest, {
      controllers: [controllerOf(nest, handle, { method: [Idempotent({ preset })] })],
    })
    expect((await post(origin)).status).toBe(500)
    expect((await post(origin)).status).toBe(status)
    expect(ran).toBe(runs)
  })

  test('a file that fails midway breaks the answer off, and the next request runs', async () => {
    const nest = await under.load()
    let runs = 0
    const handle = () => {
      runs++
      const fails = runs === 1
      const pieces = async function* (): AsyncGenerator<Buffer> {
        yield Buffer.alloc(100_000, 'a')
        yield Buffer.alloc(100_000, 'b')
        if (fails) throw new Error('disk')
      }
      return new nest.common.StreamableFile(Readable.from(pieces()))
    }
    const { origin } = await startNest(under, nest, {
      controllers: [controllerOf(nest, handle, { method: [Idempotent()] })],
    })
    await expect(post(origin)).rejects.toThrow()
    const whole = await post(origin)
    expect([whole.status, whole.body.length, whole.replayed]).toEqual([201, 200_000, false])
    expect(await post(origin)).toMatchObject({ status: 201, replayed: true })
    expect(runs).toBe(2)
  })

  test('while the store is down a request runs unprotected where the options say so', async () => {
    const nest = await under.load()
    const idem = instance()
    const { origin } = await startNest(under, nest, {
      controllers: [
        controllerOf(
          nest,
          (attempt: IdempotencyContext | undefined) => ({ attempt: attempt?.key ?? 'none' }),
          {
            method: [Idempotent({ onStoreError: 'run' })],
            parameters: [IdempotencyAttempt()],
          },
        ),
      ],
      imports: [idempotencyModule({ idem: { ...idem, begin: storeDown } })],
    })
    const answer = await post(origin)
    expect([answer.status, answer.body.toString()]).toEqual([201, '{"attempt":"none"}'])
    expect(answer.headers.get('idempotency-unprotected')).toBe('store-unavailable')
  })
}

function storeDown(): Promise<never> {
  return Promise.reject(new StoreUnavailableError())
}
