/** Follows the log of the front and shows it; plays a scenario where the address names one. */
import { type Message, sides } from '../happenings.ts'
import { payOrder, placeOrder, reset } from './clients/calls.ts'
import { explain } from './explain.ts'
import { nextScenario, type Scenario, scenarios } from './scenarios.ts'
import { after, countOf, nothing, type State, storyOf, totalOf } from './state.ts'
import { Board, titles } from './view/board.ts'
import { Controls } from './view/controls.ts'
import { byId, element, setText } from './view/element.ts'

interface Run {
  readonly stop: AbortController
  order: string | undefined
}

let state: State = nothing
/** The order that this page pays for just now. */
let run: Run | undefined

const boards = sides.map((side) => new Board(side))
byId('boards').append(...boards.map(({ card }) => card))
const controls = new Controls({
  pay: (clicks) => void pay(clicks),
  reset: () => void startAgain(),
  armed: show,
})

async function pay(clicks: 1 | 2): Promise<void> {
  const own: Run = { stop: new AbortController(), order: undefined }
  run = own
  show()
  try {
    const { signal } = own.stop
    const order = await placeOrder(clicks, controls.fault, signal)
    own.order = order.id
    await payOrder(order, signal)
  } catch (error) {
    if (own.stop.signal.aborted) return
    setText(byId('hint'), 'The playground does not answer. Is it still running?')
    throw error
  }
}

async function startAgain(): Promise<void> {
  run?.stop.abort()
  run = undefined
  controls.arm(null)
  await reset()
}

async function play({ clicks, fault }: Scenario): Promise<void> {
  await startAgain()
  controls.arm(fault)
  await pay(clicks)
}

function show(): void {
  if (run !== undefined && state.orders.some(({ id, isOver }) => isOver && id === run?.order)) {
    run = undefined
    tellResult()
  }
  for (const board of boards) board.show(state)
  showTally()
  const isBusy = run !== undefined
  document.documentElement.dataset['state'] = isBusy ? 'busy' : 'idle'
  controls.setBusy(isBusy)
  showHint(isBusy)
}

/** Where the sides do not fit beside each other, both counts stay in sight. */
function showTally(): void {
  const counts = sides.map((side) => {
    const { charges, isTooMuch } = totalOf(state, side)
    const tone = isTooMuch ? 'bad' : charges > 0 ? 'good' : 'none'
    return element('span', { 'data-tone': tone }, `${side === 'with' ? 'With' : 'Without'}: ${charges}`)
  })
  byId('tally').replaceChildren(...counts)
}

function showHint(isBusy: boolean): void {
  const next = nextScenario(state.orders)
  const done = 'That was all of it. Break it as you like, or start again with Reset.'
  setText(byId('hint'), isBusy ? 'Watch both sides ..' : (next?.hint ?? done))
  controls.point(isBusy ? undefined : next)
}

/** For those who do not see the page: how it ended on both sides, once. */
function tellResult(): void {
  const told = sides.map((side) => {
    const story = storyOf(state, side)
    return `${titles[side][0]}: ${countOf(totalOf(state, side))}. ${story === undefined ? '' : explain(story)}`
  })
  setText(byId('result'), told.join(' '))
}

const asked = new URLSearchParams(location.search).get('scenario')
document
  .querySelector('.stories')
  ?.append(
    ...scenarios.map(({ id, name }) =>
      element('a', { href: `?scenario=${id}`, 'aria-current': id === asked ? 'page' : undefined }, name),
    ),
  )

const log = new EventSource('/playground/log')
let isPlayed = false
log.addEventListener('message', ({ data }) => {
  state = after(state, JSON.parse(data as string) as Message)
  show()
  if (isPlayed) return
  isPlayed = true
  const scenario = scenarios.find(({ id }) => id === asked)
  if (scenario !== undefined) void play(scenario)
})
show()
