export function euros(cents: number): string {
  return `EUR\u00a0${(cents / 100).toFixed(2)}`
}
