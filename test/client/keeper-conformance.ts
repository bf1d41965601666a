/** What every keeper must do, as cases that run against any of them. */
import { expect, test } from 'vitest'
import {
  KeeperError,
  type KeeperOptions,
  type KeptCall,
  type KeyKeeper,
} from '../../src/client/keepers/index.ts'

/** A call as the client makes one. */
export function aCall(fields: Partial<KeptCall> = {}): KeptCall {
  return {
    intent: 'pay:cart-7',
    key: crypto.randomUUID(),
    method: 'POST',
    url: 'https://shop.example/charges',
    contentType: 'application/json',
    fields: { accept: 'application/json' },
    body: '{"amount":100}',
    createdAt: Date.now(),
    ...fields,
  }
}

const everyOctet = Uint8Array.from({ length: 512 }, (_, at) => at % 256)

export const bodies: Readonly<Record<string, KeptCall['body']>> = {
  none: undefined,
  'empty text': '',
  text: '{"note":"Grüße, 価格, 🧾"}',
  'text with a byte order mark and a zero': '\u{FEFF}a\0b\r\n',
  'no octets': new Uint8Array(),
  'octets that are no text': everyOctet,
}

export interface KeeperUnderTest {
  readonly name: string
  /** A keeper on an empty storage; called again with `again`, another one on the same. */
  open(options: KeeperOptions): { readonly keeper: KeyKeeper; again(): KeyKeeper }
}

const hourMs = 3_600_000

/** Registers the cases with vitest. */
export function keeperConformance({ name, open }: KeeperUnderTest): void {
  const named = (title: string, run: () => Promise<void>): void => test(`${name}: ${title}`, run)

  for (const [kind, body] of Object.entries(bodies)) {
    named(`gives back the same octets, also to another one on the same storage: ${kind}`, async () => {
      const { keeper, again } = open({})
      const call = aCall({ body, contentType: null })
      await keeper.keep(call)
      const [kept] = await again().list()
      expect(kept).toStrictEqual(call)
      expect(await again().keep(aCall({ body, contentType: null }))).toStrictEqual({ call, isNew: false })
    })
  }

  named('keeps one call for each intent, whatever its text', async () => {
    const { keeper } = open({})
    const intents = ['pay', 'pay:', 'Pay', '', '../pay', 'pay\0', 'päy', '🧾', 'x'.repeat(2_000), '__proto__']
    for (const intent of intents) expect((await keeper.keep(aCall({ intent }))).isNew).toBe(true)
    for (const intent of intents) expect((await keeper.keep(aCall({ intent }))).isNew).toBe(false)
    for (const intent of intents) expect((await keeper.find(intent))?.call.intent).toBe(intent)
    expect((await keeper.list()).map(({ intent }) => intent).sort()).toEqual([...intents].sort())
  })

  named('gives one call to all that ask at once', async () => {
    const { keeper, again } = open({})
    const keepers = [keeper, again(), again()]
    const kept = await Promise.all(
      Array.from({ length: 24 }, (_, at) => (keepers[at % 3] as KeyKeeper).keep(aCall())),
    )
    expect(new Set(kept.map(({ call }) => call.key)).size).toBe(1)
    expect(kept.filter(({ isNew }) => isNew)).toHaveLength(1)
  })

  const edits: readonly Partial<KeptCall>[] = [
    { body: '{"amount":200}' },
    { body: undefined },
    { method: 'PUT' },
    { url: 'https://shop.example/refunds' },
    { contentType: 'text/plain' },
  ]
  for (const edit of edits) {
    named(`an edited request is a new call: ${JSON.stringify(Object.entries(edit))}`, async () => {
      const { keeper, again } = open({})
      const first = aCall()
      await keeper.keep(first)
      const edited = aCall(edit)
      expect(await again().keep(edited)).toStrictEqual({ call: edited, isNew: true, replaced: first })
      expect(await keeper.list()).toStrictEqual([edited])
      // The end of the first says nothing of the second.
      await keeper.settle(first)
      await keeper.forget(first)
      expect(await keeper.list()).toStrictEqual([edited])
    })
  }

  for (const verb of ['settle', 'forget'] as const) {
    named(`${verb} ends a call, and the same request is a new one then`, async () => {
      const { keeper, again } = open({})
      const first = aCall()
      await keeper.keep(first)
      await again()[verb](first)
      await keeper[verb](first)
      expect(await keeper.list()).toEqual([])
      const second = aCall()
      expect(await keeper.keep(second)).toMatchObject({ call: { key: second.key }, isNew: true })
      expect((await again().list()).map(({ key }) => key)).toEqual([second.key])
    })
  }

  named('finds what is kept for an intent, and says who was given it', async () => {
    const { keeper, again } = open({})
    const call = aCall()
    await keeper.keep(aCall({ intent: 'another' }))
    expect(await keeper.find(call.intent)).toBeUndefined()
    await keeper.keep(call)
    expect(await again().find(call.intent)).toStrictEqual({ call, isShared: false, isDone: false })
    await again().keep(aCall())
    expect(await keeper.find(call.intent)).toStrictEqual({ call, isShared: true, isDone: false })
    const edited = aCall({ body: 'other' })
    await keeper.keep(edited)
    expect(await again().find(call.intent)).toStrictEqual({ call: edited, isShared: false, isDone: false })
    await keeper.forget(edited)
    expect(await again().find(call.intent)).toBeUndefined()
  })

  named('a call that nobody else was given can be withdrawn', async () => {
    const { keeper, again } = open({})
    const call = aCall()
    await keeper.keep(call)
    await again().withdraw(aCall())
    expect(await keeper.list()).toHaveLength(1)
    await again().withdraw(call)
    expect(await keeper.list()).toEqual([])
    expect((await keeper.keep(aCall())).isNew).toBe(true)
  })

  const gifts: Readonly<Record<string, (keeper: KeyKeeper, call: KeptCall) => Promise<unknown>>> = {
    'by keep': (keeper) => keeper.keep(aCall()),
    'by share': (keeper, call) => keeper.share(call),
  }
  for (const [gift, give] of Object.entries(gifts)) {
    named(`a call that somebody else was given ${gift} stays until it is settled`, async () => {
      const { keeper, again } = open({})
      const call = aCall()
      await keeper.keep(call)
      await give(again(), call)
      await keeper.withdraw(call)
      expect(await again().list()).toStrictEqual([call])
      await again().settle(call)
      expect(await keeper.list()).toEqual([])
    })
  }

  named('of a withdrawal and a gift at once, one comes first for both', async () => {
    const { keeper, again } = open({})
    const other = again()
    for (let at = 0; at < 8; at++) {
      const call = aCall({ intent: `${at}` })
      await keeper.keep(call)
      const [isGiven] = await Promise.all([other.share(call), keeper.withdraw(call)])
      expect((await keeper.find(call.intent)) !== undefined).toBe(isGiven)
    }
  })

  named('shares what is kept, and nothing else', async () => {
    const { keeper, again } = open({ keepAfterDone: '1h' })
    const call = aCall()
    expect(await keeper.share(call)).toBe(false)
    await keeper.keep(call)
    expect(await again().share(call)).toBe(true)
    expect(await keeper.share(call)).toBe(true)
    expect(await keeper.share(aCall())).toBe(false)
    await keeper.settle(call)
    expect(await again().share(call)).toBe(false)
    expect(await keeper.list()).toEqual([])
  })

  named('a repeat of what is done is kept until it is settled, whatever time passes', async () => {
    const clock = { time: Date.now(), now: (): number => clock.time }
    const { keeper, again } = open({ keepAfterDone: '1h', lifetime: '24h', clock })
    const call = aCall({ createdAt: clock.time })
    await keeper.keep(call)
    await keeper.settle(call)
    expect(await keeper.find(call.intent)).toStrictEqual({ call, isShared: false, isDone: true })
    expect(await again().keep(aCall())).toStrictEqual({ call, isNew: false })
    clock.time += 2 * hourMs
    expect(await keeper.find(call.intent)).toStrictEqual({ call, isShared: true, isDone: false })
    await keeper.withdraw(call)
    expect(await again().list()).toStrictEqual([call])
    await again().settle(call)
    expect(await keeper.list()).toEqual([])
    expect(await keeper.find(call.intent)).toBeUndefined()
    // Its outcome was told once, so that nothing is to be looked up when it is too old.
    const other = aCall({ intent: 'other', createdAt: clock.time })
    await keeper.keep(other)
    await keeper.settle(other)
    await keeper.keep(aCall({ intent: 'other' }))
    clock.time += 13 * hourMs
    expect(await again().list()).toEqual([])
    expect((await keeper.keep(aCall({ intent: 'other', createdAt: clock.time }))).isNew).toBe(true)
  })

  named('a withdrawal says nothing of what is done', async () => {
    const { keeper, again } = open({ keepAfterDone: '1h' })
    const call = aCall()
    await keeper.keep(call)
    await again().settle(call)
    await keeper.withdraw(call)
    expect(await keeper.keep(aCall())).toStrictEqual({ call, isNew: false })
  })

  named('lists what is left, oldest first', async () => {
    const { keeper } = open({})
    const now = Date.now()
    for (const ago of [3, 1, 2]) await keeper.keep(aCall({ intent: `${ago}`, createdAt: now - ago }))
    const done = aCall({ intent: 'done' })
    await keeper.keep(done)
    await keeper.settle(done)
    expect((await keeper.list()).map(({ intent }) => intent)).toEqual(['3', '2', '1'])
  })

  named('remembers what is done for keepAfterDone: the same request repeats the key', async () => {
    const clock = { time: Date.now(), now: (): number => clock.time }
    const { keeper, again } = open({ keepAfterDone: '1h', clock })
    const first = aCall({ createdAt: clock.time })
    await keeper.keep(first)
    await keeper.settle(first)
    expect(await keeper.list()).toEqual([])
    clock.time += hourMs - 1
    expect(await again().keep(aCall())).toMatchObject({ call: { key: first.key }, isNew: false })
    // Its end does not begin anew.
    await again().settle(first)
    clock.time += 1
    const late = aCall({ createdAt: clock.time })
    expect(await keeper.keep(late)).toMatchObject({ call: { key: late.key }, isNew: true })
    expect(await again().list()).toMatchObject([{ key: late.key }])
  })

  named('an edited request after one that is done takes no open call away', async () => {
    const { keeper } = open({ keepAfterDone: '1h' })
    const first = aCall()
    await keeper.keep(first)
    await keeper.settle(first)
    const edited = aCall({ body: 'other' })
    expect(await keeper.keep(edited)).toStrictEqual({ call: edited, isNew: true, replaced: undefined })
  })

  named('forgets what is done and too old to be sent again', async () => {
    const clock = { time: Date.now(), now: (): number => clock.time }
    const { keeper } = open({ keepAfterDone: '12h', lifetime: '24h', clock })
    const first = aCall({ createdAt: clock.time })
    await keeper.keep(first)
    clock.time += 6 * hourMs
    await keeper.settle(first)
    clock.time += 6 * hourMs + 1
    expect((await keeper.keep(aCall({ createdAt: clock.time }))).isNew).toBe(true)
  })

  named('a forgotten call is not remembered', async () => {
    const { keeper } = open({ keepAfterDone: '1h' })
    const first = aCall()
    await keeper.keep(first)
    await keeper.settle(first)
    await keeper.forget(first)
    expect((await keeper.keep(aCall())).isNew).toBe(true)
  })

  named('refuses a call for which there is no room, and loses none', async () => {
    const { keeper } = open({ callsMax: 2 })
    for (const intent of ['1', '2']) await keeper.keep(aCall({ intent }))
    const refused = await keeper.keep(aCall({ intent: '3' })).catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(KeeperError)
    expect(refused).toMatchObject({ reason: 'full' })
    expect((await keeper.list()).map(({ intent }) => intent).sort()).toEqual(['1', '2'])
    // An edit takes no room.
    await keeper.keep(aCall({ intent: '2', body: 'other' }))
  })

  named(
    'makes room of what is done, then of what is too old to be sent, and tells of the latter',
    async () => {
      const dropped: string[] = []
      const { keeper } = open({
        ...{ callsMax: 3, keepAfterDone: '1h' },
        onDropped: ({ intent }) => void dropped.push(intent),
      })
      const old = Date.now() - 13 * hourMs
      const done = aCall({ intent: 'done' })
      await keeper.keep(done)
      await keeper.settle(done)
      await keeper.keep(aCall({ intent: 'old', createdAt: old }))
      await keeper.keep(aCall({ intent: 'older', createdAt: old - 1 }))
      for (const intent of ['a', 'b', 'c']) await keeper.keep(aCall({ intent }))
      expect(dropped).toEqual(['older', 'old'])
      expect((await keeper.list()).map(({ intent }) => intent).sort()).toEqual(['a', 'b', 'c'])
      await expect(keeper.keep(aCall({ intent: 'd' }))).rejects.toMatchObject({ reason: 'full' })
    },
  )

  named('what went to make room is known no more', async () => {
    const { keeper } = open({ callsMax: 1, keepAfterDone: '1h' })
    const done = aCall({ intent: 'done' })
    await keeper.keep(done)
    await keeper.settle(done)
    await keeper.keep(aCall({ intent: 'other' }))
    expect(await keeper.find('done')).toBeUndefined()
  })

  named('a call that is too old stays until it is forgotten: its key is the only one', async () => {
    const { keeper } = open({})
    const old = aCall({ createdAt: Date.now() - 13 * hourMs })
    await keeper.keep(old)
    expect(await keeper.keep(aCall())).toMatchObject({ call: { key: old.key }, isNew: false })
    await keeper.forget(old)
    expect((await keeper.keep(aCall())).isNew).toBe(true)
  })

  named('refuses a body that is too large', async () => {
    const { keeper } = open({ bodyBytesMax: 4 })
    await keeper.keep(aCall({ body: 'four' }))
    await expect(keeper.keep(aCall({ intent: 'large', body: 'fünf' }))).rejects.toMatchObject({
      reason: 'too-large',
    })
  })
}
