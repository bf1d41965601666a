'use client'

import Link from 'next/link'
import type { ReactNode } from 'react'
import { useIdempotencyKey } from 'retrysafe/client/react'

export function OrderAgain({ cart }: { readonly cart: string }): ReactNode {
  const { renew } = useIdempotencyKey(['order', cart])
  return (
    <Link id="again" href={`/shop/plain?cart=${cart}`} onClick={() => renew()}>
      Order again
    </Link>
  )
}
