'use client'

import { type ReactNode, useSyncExternalStore } from 'react'

const never = (): (() => void) => () => {}

/** Says whether the page is React's, or still what the server has rendered. */
export function TakenOver(): ReactNode {
  const isTakenOver = useSyncExternalStore(
    never,
    () => true,
    () => false,
  )
  return <output id="taken-over">{String(isTakenOver)}</output>
}
