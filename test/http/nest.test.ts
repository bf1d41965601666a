/** The Nest adapter on Nest 12 with Express and with Fastify, and on Nest 11. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FileInterceptor, type NestExpressApplication } from '@nestjs/platform-express'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { InvalidOptionError } from '../../src/core/errors.ts'
import { idempotent as idempotentExpress } from '../../src/http/express.ts'
import { IdempotencyAttempt, IdempotencyModule, Idempotent } from '../../src/http/nest.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { decorated } from './nest/decorated.ts'
import { nestBehaviours } from './nest/behaviours.ts'
import { nestDocument } from './nest/document.ts'
import { nest11 } from './nest/nest-11.ts'
import { nest12 } from './nest/packages.ts'
import { controllerOf, idempotencyModule, type NestUnderTest, startNest } from './nest/serving.ts'
import { nestStartUp } from './nest/start-up.ts'
import { instance, post } from './serving.ts'

// npm may have to install it first.
beforeAll(async () => void (await nest11()), 300_000)

const all: readonly NestUnderTest[] = [
  { name: 'nest 12 on express', platform: 'express', load: async () => nest12 },
  { name: 'nest 12 on fastify', platform: 'fastify', load: async () => nest12 },
  { name: 'nest 11 on express', platform: 'express', load: nest11 },
]

for (const under of all) {
  nestBehaviours(under)
  nestStartUp(under)
  nestDocument(under)
}

describe('nest 12 on express', () => {
  const [under] = all as [NestUnderTest]
  const { common } = nest12

  test('an upload that an interceptor of Nest parses is compared part by part', async () => {
    const handle = (file: { originalname: string; size: number }): object => ({
      name: file.originalname,
      size: file.size,
    })
    const { origin, complaints } = await startNest(under, nest12, {
      controllers: [
        controllerOf(nest12, handle as never, {
          method: [Idempotent(), common.UseInterceptors(FileInterceptor('file'))],
          parameters: [common.UploadedFile()],
        }),
      ],
    })
    const upload = async (content: string): Promise<[number, string, boolean]> => {
      const body = new FormData()
      body.append('file', new Blob([content]), 'a.txt')
      const answer = await fetch(`${origin}/x`, { method: 'POST', body, headers: { 'Idempotency-Key': 'k' } })
      return [answer.status, await answer.text(), answer.headers.has('idempotent-replayed')]
    }
    const made = '{"name":"a.txt","size":3}'
    expect(await upload('one')).toEqual([201, made, false])
    expect(await upload('one')).toEqual([201, made, true])
    expect((await upload('two'))[0]).toBe(422)
    expect(complaints).toEqual([])
  })

  test('a template is rendered for the first answer only', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nest-views-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    writeFileSync(join(folder, 'receipt.txt'), 'paid ')
    let rendered = 0
    const { origin, complaints } = await startNest(under, nest12, {
      controllers: [
        controllerOf(nest12, () => ({ amount: 100 }), { method: [Idempotent(), common.Render('receipt')] }),
      ],
      prepare(app) {
        const express = app as NestExpressApplication
        express.engine('txt', (file: string, { amount }: { amount: number }, done: Rendered) => {
          rendered++
          done(null, `${readFileSync(file, 'utf8')}${amount.toFixed(2)}`)
        })
        express.setViewEngine('txt')
        express.setBaseViewsDir(folder)
      },
    })
    const first = await post(origin)
    const again = await post(origin)
    expect([first.body.toString(), again.body.toString()]).toEqual(['paid 100.00', 'paid 100.00'])
    expect([again.replayed, rendered, complaints]).toEqual([true, 1, []])
  })

  test('a request that a middleware of Express guards already runs once', async () => {
    let runs = 0
    const handle = (attempt: { fence: number } | undefined): object => ({
      run: ++runs,
      fence: attempt?.fence,
    })
    const { origin, complaints } = await startNest(under, nest12, {
      controllers: [
        controllerOf(nest12, handle as never, {
          method: [Idempotent()],
          parameters: [IdempotencyAttempt()],
        }),
      ],
      prepare: (app) => app.use(idempotentExpress(instance(), { principal: 'anonymous' })),
    })
    expect((await post(origin)).body.toString()).toBe('{"run":1,"fence":1}')
    expect(await post(origin)).toMatchObject({ status: 201, replayed: true })
    expect([runs, complaints]).toEqual([1, []])
  })

  test('an event stream that is not protected goes on as ever', async () => {
    class Streams {
      events(): unknown {
        return nest12.rxjs.of({ data: 1 }, { data: 2 })
      }
    }
    const controller = decorated(Streams, [common.Controller()], { events: { method: [common.Sse('x')] } })
    const { origin } = await startNest(under, nest12, {
      controllers: [controller],
      imports: [idempotencyModule({ routes: 'all' })],
    })
    const answer = await fetch(`${origin}/x`)
    expect(answer.headers.get('content-type')).toBe('text/event-stream')
    expect(await answer.text()).toContain('data: 2')
  })
})

type Rendered = (error: unknown, text?: string) => void

describe('options', () => {
  const refusedBy = (make: () => unknown): unknown => {
    try {
      make()
    } catch (error) {
      if (error instanceof InvalidOptionError) return error.option
      throw error
    }
    return undefined
  }

  test.each<[string, object]>([
    ['options', null as never],
    ['idem', { principal: 'anonymous' }],
    ['idem', { principal: 'anonymous', idem: {} }],
    ['principal', { store: memoryStore() }],
    ['routes', { principal: 'anonymous', store: memoryStore(), routes: 'some' }],
    ['idempotent.retries', { principal: 'anonymous', store: memoryStore(), retries: 3 }],
    ['lease', { principal: 'anonymous', store: memoryStore(), lease: '1ms' }],
  ])('forRoot names %s', (option, options) => {
    expect(refusedBy(() => IdempotencyModule.forRoot(options as never))).toBe(option)
  })

  test('forRoot refuses options of an instance beside one', () => {
    const idem = instance()
    const options = { principal: 'anonymous', idem, namespace: 'a' }
    expect(refusedBy(() => IdempotencyModule.forRoot(options as never))).toBe('namespace')
  })

  test('forRootAsync needs its function', () => {
    expect(refusedBy(() => IdempotencyModule.forRootAsync({} as never))).toBe('useFactory')
  })

  test('a decorator checks its own options when the class is defined, and where it stands', () => {
    expect(refusedBy(() => Idempotent({ scope: 'global' as 'endpoint' }))).toBe('scope')
    expect(refusedBy(() => Idempotent()({}, 'field'))).toBe('Idempotent')
    expect(refusedBy(() => IdempotencyAttempt()(class {}, undefined, 0))).toBe('IdempotencyAttempt')
  })
})
