/** What is checked and connected when an application starts, on any version and platform. */
import { describe, expect, test, vi } from 'vitest'
import { InvalidOptionError } from '../../../src/core/errors.ts'
import type { Idempotency } from '../../../src/engine/idempotency.ts'
import { IDEMPOTENCY, IdempotencyModule, Idempotent } from '../../../src/http/nest.ts'
import { memoryStore } from '../../../src/stores/memory.ts'
import { instance, post } from '../serving.ts'
import { decorated } from './decorated.ts'
import type { Nest } from './packages.ts'
import { type Controller, controllerOf, idempotencyModule, type NestUnderTest, startNest } from './serving.ts'

export function nestStartUp(under: NestUnderTest): void {
  describe(`${under.name}, at the start`, () => {
    declarations(under)
    refusals(under)
    modules(under)
  })
}

/** A controller of three handlers; the base class of another. */
function threeHandlers(nest: Nest): Controller {
  const { Controller, Patch, Post } = nest.common
  class Three {
    usual(): object {
      return {}
    }

    required(): object {
      return {}
    }

    open(): object {
      return {}
    }
  }
  return decorated(Three, [Controller('three'), Idempotent({ scope: 'endpoint' })], {
    usual: { method: [Patch('usual')] },
    required: { method: [Post('required'), Idempotent({ required: true })] },
    open: { method: [Post('open'), Idempotent(false)] },
  })
}

/** Whether a path is protected: its second answer is a replay. */
async function isProtected(origin: string, path: string, method = 'POST'): Promise<boolean> {
  await post(origin, { method }, path)
  return (await post(origin, { method }, path)).replayed
}

function declarations(under: NestUnderTest): void {
  test("a handler's options take the place of its controller's, those of the module's", async () => {
    const nest = await under.load()
    class Derived extends threeHandlers(nest) {}
    decorated(Derived, [nest.common.Controller('derived')])
    const { origin } = await startNest(under, nest, { controllers: [threeHandlers(nest), Derived] })
    for (const path of ['/three', '/derived']) {
      expect(await isProtected(origin, `${path}/usual`, 'PATCH')).toBe(true)
      expect(await isProtected(origin, `${path}/required`)).toBe(true)
      expect(await isProtected(origin, `${path}/open`)).toBe(false)
      const missing = await fetch(`${origin}${path}/required`, { method: 'POST' })
      const optional = await fetch(`${origin}${path}/usual`, { method: 'PATCH' })
      expect([missing.status, optional.status]).toEqual([400, 200])
    }
  })

  test.each(['decorated', 'all'] as const)('routes: %s', async (routes) => {
    const nest = await under.load()
    const { origin } = await startNest(under, nest, {
      controllers: [controllerOf(nest, () => ({}), {}), threeHandlers(nest)],
      imports: [idempotencyModule({ routes })],
    })
    expect(await isProtected(origin, '/x')).toBe(routes === 'all')
    expect(await isProtected(origin, '/three/open')).toBe(false)
  })

  test('a controller that is made for each request', async () => {
    const nest = await under.load()
    const { Controller, Post, Scope } = nest.common
    let made = 0
    class PerRequest {
      constructor() {
        made++
      }

      create(): object {
        return { made }
      }
    }
    const controller = decorated(PerRequest, [Controller({ path: '', scope: Scope.REQUEST })], {
      create: { method: [Post('x'), Idempotent()] },
    })
    const { origin } = await startNest(under, nest, { controllers: [controller] })
    expect(await isProtected(origin, '/x')).toBe(true)
  })
}

/** How the start of an application ends. */
async function startError(
  under: NestUnderTest,
  nest: Nest,
  parts: Parameters<typeof startNest>[2],
): Promise<unknown> {
  return await startNest(under, nest, parts).then(
    () => undefined,
    (error: unknown) => error,
  )
}

function refusals(under: NestUnderTest): void {
  const refused = async (nest: Nest, controller: Controller, options = {}): Promise<unknown> =>
    await startError(under, nest, { controllers: [controller], imports: [idempotencyModule(options)] })

  test('a protected handler without the module', async () => {
    const nest = await under.load()
    const controllers = [controllerOf(nest, () => ({}), { method: [Idempotent()] })]
    const error = await startError(under, nest, { controllers, imports: [] })
    expect(String(error)).toMatch(/can't resolve dependencies of the Charges/)
    expect(String(error)).toMatch(/IdempotencyModule/)
  })

  test('options of a handler that do not fit the module', async () => {
    const nest = await under.load()
    const controller = controllerOf(nest, () => ({}), { method: [Idempotent({ required: true })] })
    const error = await refused(nest, controller, { onStoreError: 'run' })
    expect(error).toBeInstanceOf(InvalidOptionError)
    expect(error).toMatchObject({
      option: 'onStoreError',
      rule: expect.stringContaining('(on Charges.create)') as string,
    })
  })

  test('a handler whose method is not guarded', async () => {
    const nest = await under.load()
    class Reads {
      read(): void {}
    }
    const controller = decorated(Reads, [nest.common.Controller()], {
      read: { method: [nest.common.Get('x'), Idempotent()] },
    })
    const rule = 'must include GET, the method of Reads.read'
    expect(await refused(nest, controller)).toMatchObject({ option: 'methods', rule })
  })

  test('a method that is no handler', async () => {
    const nest = await under.load()
    class NoRoute {
      work(): void {}
    }
    const controller = decorated(NoRoute, [nest.common.Controller()], { work: { method: [Idempotent()] } })
    expect(await refused(nest, controller)).toMatchObject({ option: 'Idempotent' })
  })

  test('an event stream, whose head Nest sends before any decision', async () => {
    const nest = await under.load()
    const { RequestMethod, Sse } = nest.common
    const onPost = Sse('x', { method: RequestMethod.POST } as never)
    const controller = controllerOf(nest, () => nest.rxjs.of({ data: 1 }), { method: [Idempotent(), onPost] })
    expect(await refused(nest, controller)).toMatchObject({ option: 'Idempotent' })
  })
}

function modules(under: NestUnderTest): void {
  test('asynchronous options: the module opens an instance on the store and closes it at the end', async () => {
    const nest = await under.load()
    const store = memoryStore()
    const close = vi.spyOn(store, 'close')
    class Stores {}
    decorated(Stores, [
      nest.common.Module({ providers: [{ provide: 'STORE', useValue: store }], exports: ['STORE'] }),
    ])
    const { app, origin } = await startNest(under, nest, {
      controllers: [controllerOf(nest, () => ({}), { method: [Idempotent()] })],
      imports: [
        IdempotencyModule.forRootAsync({
          imports: [Stores],
          inject: ['STORE'],
          useFactory: async (given: typeof store) => {
            await new Promise((resolve) => setImmediate(resolve))
            return { store: given, retention: '1h', principal: 'anonymous' as const }
          },
        }),
      ],
    })
    expect(await isProtected(origin, '/x')).toBe(true)
    const idem = app.get<Idempotency>(IDEMPOTENCY)
    expect(idem.policy({}).retentionMs).toBe(3_600_000)
    expect(close).not.toHaveBeenCalled()
    await app.close()
    expect(close).toHaveBeenCalledOnce()
  })

  test('an instance of the application is left open', async () => {
    const nest = await under.load()
    const idem = instance()
    const { app } = await startNest(under, nest, {
      controllers: [],
      imports: [idempotencyModule({ idem })],
    })
    expect(app.get(IDEMPOTENCY)).toBe(idem)
    await app.close()
    const charge = idem.operation('charge', () => 1)
    expect((await charge.run({ key: 'k', principal: 'p', input: 1 })).value).toBe(1)
  })
}
