/** Makes an element with attributes and children; `undefined` attributes are left out. */
export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Readonly<Record<string, string | undefined>> = {},
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name)
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value !== undefined) made.setAttribute(attribute, value)
  }
  made.append(...children)
  return made
}

/** Sets text only where it changes, so that what reads the page aloud is not told the same again. */
export function setText(target: Element, text: string): void {
  if (target.textContent !== text) target.textContent = text
}

/** The element of the page with this id. */
export function byId<Found extends HTMLElement = HTMLElement>(id: string): Found {
  return document.getElementById(id) as Found
}
