/** What can be played, in the order in which a newcomer is led through it. */
import type { Fault, Order } from '../happenings.ts'

export interface Scenario {
  /** In `?scenario=..`. */
  readonly id: string
  readonly name: string
  readonly clicks: 1 | 2
  readonly fault: Fault | null
  /** What to do, when it is the next one. */
  readonly hint: string
}

export const scenarios: readonly Scenario[] = [
  { id: 'pay', name: 'Just pay', clicks: 1, fault: null, hint: 'Press Pay.' },
  {
    ...{ id: 'lost-reply', name: 'Lost reply', clicks: 1, fault: 'lost-reply' },
    hint: 'Now lose the reply and press Pay again.',
  },
  {
    ...{ id: 'double-click', name: 'Double click', clicks: 2, fault: null },
    hint: 'Now let nothing go wrong, and press Pay twice: an impatient customer.',
  },
  {
    ...{ id: 'crash', name: 'Crash', clicks: 1, fault: 'crash' },
    hint: 'Now crash the server in mid-charge and press Pay.',
  },
  {
    ...{ id: 'slow-server', name: 'Slow server', clicks: 1, fault: 'slow-server' },
    hint: 'Now make the server slow and press Pay.',
  },
  {
    ...{ id: 'slow-lease', name: 'Slow lease', clicks: 1, fault: 'slow-lease' },
    hint: 'Now freeze the server until its lease is over, and press Pay.',
  },
  {
    ...{ id: 'refused', name: 'Refused connection', clicks: 1, fault: 'refused' },
    hint: 'Now refuse the connection and press Pay: the one case where a plain retry is harmless.',
  },
]

export const faultNames: Readonly<Record<Fault, string>> = {
  'lost-reply': 'Lose the reply',
  refused: 'Refuse',
  crash: 'Crash mid-charge',
  'slow-server': 'Slow server',
  'slow-lease': 'Slow lease',
}

/** The first that no order has played yet, from the newest order on. */
export function nextScenario(orders: readonly Order[]): Scenario | undefined {
  const newest = orders.at(-1)
  const from = scenarios.findIndex((scenario) => newest !== undefined && isPlayedBy(scenario, newest)) + 1
  return [...scenarios.slice(from), ...scenarios.slice(0, from)].find(
    (scenario) => !orders.some((order) => isPlayedBy(scenario, order)),
  )
}

function isPlayedBy({ clicks, fault }: Scenario, order: Order): boolean {
  return order.clicks === clicks && order.fault === fault
}
