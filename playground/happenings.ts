/** What happens to an order, as the front writes it down and the page shows it. */

/** Which of the two shops: plain requests, or requests with an idempotency key. */
export type Side = 'without' | 'with'

export const sides: readonly Side[] = ['without', 'with']

/** What goes wrong with the first attempt of an order. */
export type Fault = 'lost-reply' | 'refused' | 'crash' | 'slow-server' | 'slow-lease'

export const faults: readonly Fault[] = ['lost-reply', 'refused', 'crash', 'slow-server', 'slow-lease']

export interface Order {
  readonly id: string
  /** 1, 2, .. since the last reset. */
  readonly number: number
  readonly customer: string
  readonly cents: number
  /** How often the customer pressed the button. */
  readonly clicks: 1 | 2
  readonly fault: Fault | null
  /** Nothing more will happen to it: all calls have an outcome and no server works on it. */
  readonly isOver: boolean
}

/** What a shop reports of an attempt. `pid` is the process that did it. */
export type ShopHappening = { readonly pid: number } & (
  | { readonly kind: 'claimed'; readonly fence: number }
  | { readonly kind: 'in-progress' }
  | { readonly kind: 'replayed' }
  /** The charge is written; where it is not committed yet, it commits together with the record. */
  | { readonly kind: 'charged'; readonly isCommitted: boolean }
  /** The record is stored, and the charge with it. */
  | { readonly kind: 'stored' }
  | { readonly kind: 'slow' }
  /** The whole process stands still, as on a paused machine. */
  | { readonly kind: 'frozen' }
  | { readonly kind: 'woke' }
  /** A holder that had lost its lease wanted to charge, and its fence was too low. */
  | { readonly kind: 'fenced-off' }
)

/** What the network and the browser do. */
export type WireHappening =
  /** `key` is what the request carried. */
  | { readonly kind: 'sent'; readonly key: string | null; readonly isRetry: boolean }
  | { readonly kind: 'refused' }
  | { readonly kind: 'reply-lost' }
  /** The browser stopped waiting. */
  | { readonly kind: 'gave-up' }
  /** The shop answered a browser that had stopped waiting. */
  | { readonly kind: 'unheard' }
  /** The connection ended because the server died. */
  | { readonly kind: 'cut' }
  | { readonly kind: 'answered'; readonly status: number; readonly replayed: boolean }
  | { readonly kind: 'killed'; readonly pid: number }
  /** The ledger shows that what the dead server had written is gone. */
  | { readonly kind: 'rolled-back' }

/** How a call ended, as the customer sees it. */
export interface CallOutcome {
  readonly kind: 'outcome'
  readonly click: number
  readonly result: 'paid' | 'failed' | 'unknown'
  readonly text: string
  readonly replayed: boolean
}

export type Happening = ShopHappening | WireHappening | CallOutcome

/** One line of the log. */
export type Entry = Happening & {
  readonly sequence: number
  readonly order: string
  readonly side: Side
  /** 1, 2, .. of the order on its side; 0 for what belongs to no attempt. */
  readonly attempt: number
  /** Milliseconds since the order was placed. */
  readonly atMs: number
}

export interface Charge {
  readonly id: number
  readonly order: string
  readonly customer: string
  readonly cents: number
  readonly key: string | null
  /** Milliseconds since 1970. */
  readonly at: number
  readonly pid: number
}

export type Ledgers = Readonly<Record<Side, readonly Charge[]>>

/** What the page is sent: all there is when it connects and after a reset, and then what changes. */
export type Message =
  | {
      readonly type: 'all'
      readonly orders: readonly Order[]
      readonly entries: readonly Entry[]
      readonly ledgers: Ledgers
    }
  | { readonly type: 'order'; readonly order: Order }
  | { readonly type: 'entry'; readonly entry: Entry }
  | { readonly type: 'ledgers'; readonly ledgers: Ledgers }
