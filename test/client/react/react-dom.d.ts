/** The parts of React DOM that the pages use: its types are not installed. */
declare module 'react-dom/client' {
  import type { ReactNode } from 'react'

  interface Root {
    render(node: ReactNode): void
    unmount(): void
  }
  interface RootOptions {
    readonly onRecoverableError?: (error: unknown) => void
  }
  export function createRoot(container: unknown, options?: RootOptions): Root
  export function hydrateRoot(container: unknown, node: ReactNode, options?: RootOptions): Root
}

declare module 'react-dom/server' {
  import type { ReactNode } from 'react'

  export function renderToString(node: ReactNode): string
}

declare module 'react-dom' {
  export function useFormStatus(): { readonly pending: boolean }
}
