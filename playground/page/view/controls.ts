/** The buttons, and the keys that press them. */
import { type Fault, faults } from '../../happenings.ts'
import { faultNames, type Scenario } from '../scenarios.ts'
import { byId, element } from './element.ts'

export interface ControlActions {
  readonly pay: (clicks: 1 | 2) => void
  readonly reset: () => void
  /** A fault was switched on or off. */
  readonly armed: () => void
}

/** Remembered for the next visit. */
function remember(name: string, value: string): void {
  localStorage.setItem(name, value)
}

export class Controls {
  fault: Fault | null = null
  readonly #switches: ReadonlyMap<Fault, HTMLButtonElement>
  readonly #pays = [byId<HTMLButtonElement>('pay'), byId<HTMLButtonElement>('double')] as const

  readonly #onArm: () => void

  constructor(actions: ControlActions) {
    this.#onArm = actions.armed
    this.#switches = new Map(
      faults.map((fault, at) => [fault, switchOf(faultNames[fault], `${at + 1}`, () => this.toggle(fault))]),
    )
    byId('faults').append(...this.#switches.values())
    for (const [at, button] of this.#pays.entries()) {
      button.addEventListener('click', () => {
        if (button.ariaDisabled !== 'true') actions.pay(at === 0 ? 1 : 2)
      })
    }
    byId('reset').addEventListener('click', actions.reset)
    bindTheme()
    this.#bindShortcuts()
  }

  /** One thing goes wrong at a time. */
  toggle(fault: Fault | null): void {
    this.arm(this.fault === fault ? null : fault)
  }

  arm(fault: Fault | null): void {
    this.fault = fault
    for (const [each, button] of this.#switches) button.ariaPressed = `${each === fault}`
    this.#onArm()
  }

  /** Buttons that wait stay in the order of focus. */
  setBusy(isBusy: boolean): void {
    for (const button of this.#pays) button.ariaDisabled = `${isBusy}`
  }

  /** Points to what to press next for a scenario. */
  point(next: Pick<Scenario, 'fault' | 'clicks'> | undefined): void {
    const isArmed = next?.fault === this.fault
    for (const [fault, button] of this.#switches) {
      // A fault that is in the way is the one to switch off.
      button.toggleAttribute(
        'data-next',
        next !== undefined && !isArmed && fault === (next.fault ?? this.fault),
      )
    }
    for (const [at, button] of this.#pays.entries()) {
      button.toggleAttribute('data-next', isArmed && next?.clicks === at + 1)
    }
  }

  #bindShortcuts(): void {
    const button = byId('shortcuts')
    let areOn = localStorage.getItem('playground-shortcuts') !== 'off'
    const show = (): void => {
      button.ariaPressed = `${areOn}`
      document.documentElement.toggleAttribute('data-no-shortcuts', !areOn)
    }
    button.addEventListener('click', () => {
      areOn = !areOn
      remember('playground-shortcuts', areOn ? 'on' : 'off')
      show()
    })
    show()
    const keys = new Map<string, HTMLElement>([
      ['p', this.#pays[0]],
      ['d', this.#pays[1]],
      ['r', byId('reset')],
      ...[...this.#switches.values()].map((each, at) => [`${at + 1}`, each] as const),
    ])
    document.addEventListener('keydown', ({ key, ctrlKey, metaKey, altKey, repeat }) => {
      if (!areOn || ctrlKey || metaKey || altKey || repeat) return
      keys.get(key.toLowerCase())?.click()
    })
  }
}

function switchOf(name: string, key: string, onPress: () => void): HTMLButtonElement {
  const button = element(
    'button',
    { type: 'button', class: 'fault', 'aria-pressed': 'false', 'aria-keyshortcuts': key },
    name,
    ' ',
    element('kbd', {}, key),
  )
  button.addEventListener('click', onPress)
  return button
}

function bindTheme(): void {
  const button = byId('theme')
  const dark = matchMedia('(prefers-color-scheme: dark)')
  const { dataset } = document.documentElement
  const isDark = (): boolean => (dataset['theme'] ?? (dark.matches ? 'dark' : 'light')) === 'dark'
  const show = (): void => {
    button.textContent = isDark() ? 'Light' : 'Dark'
    button.ariaLabel = isDark() ? 'Use light colours' : 'Use dark colours'
  }
  button.addEventListener('click', () => {
    dataset['theme'] = isDark() ? 'light' : 'dark'
    remember('playground-theme', dataset['theme'])
    show()
  })
  dark.addEventListener('change', show)
  show()
}
