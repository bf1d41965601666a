/** Browsers hide why a request failed and where it was redirected to. */
import type { Platform } from './exchange.ts'

export const platform: Platform = {
  wasNeverSent: () => false,
  whole: (response) => response.clone().arrayBuffer(),
}
