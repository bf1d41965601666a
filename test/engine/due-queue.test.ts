import { describe, expect, test } from 'vitest'
import { DueQueue } from '../../src/engine/due-queue.ts'

function itemsOf(queue: DueQueue<string>): string[] {
  const items: string[] = []
  for (let { first } = queue; first !== undefined; { first } = queue) {
    items.push(first.item)
    queue.remove(first)
  }
  return items
}

describe('a queue of what is due', () => {
  test.each([
    ['first', 0, ['b', 'c']],
    ['middle', 1, ['a', 'c']],
    ['last', 2, ['a', 'b']],
  ])('the %s leaves, once', (_, at, rest) => {
    const queue = new DueQueue<string>()
    const added = ['a', 'b', 'c'].map((item, index) => queue.add(item, index))
    const leaving = added[at] as (typeof added)[0]
    expect([queue.has(leaving), queue.remove(leaving)]).toEqual([true, true])
    expect([queue.has(leaving), queue.remove(leaving)]).toEqual([false, false])
    expect(itemsOf(queue)).toEqual(rest)
  })

  test('what is postponed goes to the end, with its new time', () => {
    const queue = new DueQueue<string>()
    const first = queue.add('a', 1)
    queue.add('b', 2)
    queue.postpone(first, 3)
    expect([first.due, queue.has(first)]).toEqual([3, true])
    expect(itemsOf(queue)).toEqual(['b', 'a'])
  })

  test('is empty when it is cleared, and can be filled again', () => {
    const queue = new DueQueue<string>()
    const gone = ['a', 'b'].map((item) => queue.add(item, 1))
    queue.clear()
    expect([queue.first, ...gone.map((each) => queue.has(each))]).toEqual([undefined, false, false])
    queue.add('c', 2)
    expect(itemsOf(queue)).toEqual(['c'])
  })
})
