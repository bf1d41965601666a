/** Text from outside, made safe to print. */

/** Whether text holds a C0 or C1 control character or DEL. */
export function isControl(text: string): boolean {
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code < 0x20 || (code >= 0x7f && code <= 0x9f)) return true
  }
  return false
}

/** Text without control characters, which a terminal would obey, and without marks that turn its direction. */
export function printable(text: string): string {
  let shown = ''
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0
    const turns = (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069)
    shown += turns || isControl(character) ? '\u{fffd}' : character
  }
  return shown
}

/** `. Did you mean ..?` or the names that there are. */
export function suggestion(given: string, known: readonly string[]): string {
  const lower = given.toLowerCase().slice(0, nameCharactersMax)
  const near = known
    .map((name) => ({ name, distance: editDistance(lower, name.toLowerCase()) }))
    .filter(
      ({ name, distance }) => distance <= (name.length < 5 ? 1 : Math.max(2, Math.floor(name.length / 3))),
    )
    .toSorted((one, other) => one.distance - other.distance)[0]
  return near === undefined ? `. Known: ${known.join(', ')}` : `. Did you mean ${near.name}?`
}

const nameCharactersMax = 64

function editDistance(one: string, other: string): number {
  let previous = Array.from({ length: other.length + 1 }, (_, index) => index)
  for (let row = 1; row <= one.length; row += 1) {
    const current = [row]
    for (let column = 1; column <= other.length; column += 1) {
      const same = one[row - 1] === other[column - 1] ? 0 : 1
      current.push(
        Math.min(
          (previous[column] ?? 0) + 1,
          (current[column - 1] ?? 0) + 1,
          (previous[column - 1] ?? 0) + same,
        ),
      )
    }
    previous = current
  }
  return previous[other.length] ?? 0
}
