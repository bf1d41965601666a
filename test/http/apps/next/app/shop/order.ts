/** The effect of the shop's pages. */
import { held, ran } from '../state'

/** Orders a cart, counts it, and keeps the answer back where the cart's answers are to wait. */
export async function order(cart: string): Promise<number> {
  const number = ran(`order ${cart}`)
  await held.get(cart)?.promise
  return number
}
