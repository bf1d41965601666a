/** What goes between the front and its shops. */
import type { Fault, ShopHappening, Side } from '../happenings.ts'

/** Which attempt a shop works on; the front adds it to each request. */
export interface Trace {
  readonly order: string
  readonly side: Side
  readonly attempt: number
  readonly fault: Fault | null
}

export const traceField = 'x-playground-trace'

/** From a shop to the front. */
export type ShopMessage =
  | { readonly type: 'ready'; readonly port: number }
  | { readonly type: 'happened'; readonly trace: Trace; readonly happening: ShopHappening }
  /** Waits to be killed, or to be told to stand still. */
  | { readonly type: 'at-fault'; readonly trace: Trace }
  /** Its answer is with the network, and all that there was to report of it has been reported. */
  | { readonly type: 'done'; readonly trace: Trace }

/** From the front to a shop: stand still until `file` is gone. */
export interface FreezeMessage {
  readonly type: 'freeze'
  readonly file: string
}
