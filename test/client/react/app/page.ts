/** What the pages use of a browser: the project is compiled without its types. */
interface Page {
  readonly document: {
    getElementById(id: string): { textContent: string | null } | null
  }
  readonly location: { readonly pathname: string; readonly search: string; assign(url: string): void }
  readonly localStorage: {
    getItem(name: string): string | null
    setItem(name: string, value: string): void
    removeItem(name: string): void
  }
}

export const page = globalThis as unknown as Page

/** A parameter of the page's address. */
export function parameter(name: string): string | null {
  return new URLSearchParams(page.location.search).get(name)
}
