export interface PageProps {
  readonly searchParams: Promise<Readonly<Record<string, string | undefined>>>
}

/** What the address of a page says. */
export async function parametersOf({ searchParams }: PageProps): Promise<{ cart: string; keepMs?: number }> {
  const { cart = 'cart', keep } = await searchParams
  return { cart, ...(keep !== undefined && { keepMs: Number(keep) }) }
}
