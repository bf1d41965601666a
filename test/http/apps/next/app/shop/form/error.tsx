'use client'

import type { ReactNode } from 'react'

/** What Next shows of an action whose answer was lost. */
export default function Lost({ reset }: { reset: () => void }): ReactNode {
  return (
    <button id="again" onClick={reset}>
      Ask again
    </button>
  )
}
