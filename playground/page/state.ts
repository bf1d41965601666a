/** What the page shows: the log of the front, and nothing that the page makes up. */
import type { Charge, Entry, Ledgers, Message, Order, Side } from '../happenings.ts'

export interface State {
  readonly orders: readonly Order[]
  readonly entries: readonly Entry[]
  readonly ledgers: Ledgers
}

export const nothing: State = { orders: [], entries: [], ledgers: { without: [], with: [] } }

/** The state after a message. */
export function after(state: State, message: Message): State {
  switch (message.type) {
    case 'all':
      return { orders: message.orders, entries: message.entries, ledgers: message.ledgers }
    case 'order': {
      const { order } = message
      const isKnown = state.orders.some(({ id }) => id === order.id)
      const orders = state.orders.map((each) => (each.id === order.id ? order : each))
      return { ...state, orders: isKnown ? orders : [...orders, order] }
    }
    case 'entry':
      return { ...state, entries: [...state.entries, message.entry] }
    case 'ledgers':
      return { ...state, ledgers: message.ledgers }
    default:
      return message satisfies never
  }
}

/** The newest order as one side lives through it. */
export interface Story {
  readonly side: Side
  readonly order: Order
  readonly entries: readonly Entry[]
  readonly charges: readonly Charge[]
}

export function storyOf(state: State, side: Side): Story | undefined {
  const order = state.orders.at(-1)
  if (order === undefined) return undefined
  return {
    ...{ side, order },
    entries: state.entries.filter((entry) => entry.order === order.id && entry.side === side),
    charges: state.ledgers[side].filter((charge) => charge.order === order.id),
  }
}

export interface Total {
  readonly orders: number
  readonly charges: number
  readonly cents: number
  /** Whether an order was charged more than once. */
  readonly isTooMuch: boolean
}

export function totalOf({ orders, ledgers }: State, side: Side): Total {
  const charges = ledgers[side]
  return {
    orders: orders.length,
    charges: charges.length,
    cents: charges.reduce((sum, { cents }) => sum + cents, 0),
    isTooMuch: new Set(charges.map(({ order }) => order)).size < charges.length,
  }
}

export function countOf({ charges }: Total): string {
  return `Charged ${charges === 1 ? '1 time' : `${charges} times`}`
}
