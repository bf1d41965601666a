import type { ReactNode } from 'react'
import { Outlet, Scripts } from 'react-router'

export default function Root(): ReactNode {
  return (
    <html lang="en">
      <body>
        <Outlet />
        <Scripts />
      </body>
    </html>
  )
}
