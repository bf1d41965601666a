/** Chromium for tests and benches: the machine's own, or Debian's, driven by playwright-core. */
import { type Browser, type BrowserContext, chromium } from 'playwright-core'
import { requireProgram } from './process.ts'

/** Nothing that reaches out of the machine, or that asks for a screen or a sandbox of the kernel's. */
const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
] as const

/** The path of the browser, which is installed first where that is possible. @throws Error */
export function chromiumProgram(): string {
  const given = process.env['RETRYSAFE_CHROMIUM']
  if (given !== undefined && given !== '') return given
  return requireProgram('chromium', ['/usr/bin', '/usr/lib/chromium', '/snap/bin'], 'chromium')
}

let reason: string | undefined
let isKnown = false

/**
 * Whether there is a browser to test with; says why not, once.
 *
 * @throws Error when there is none although `RETRYSAFE_REQUIRE_SERVERS` is `1`
 */
export function hasChromium(): boolean {
  if (!isKnown) {
    isKnown = true
    try {
      chromiumProgram()
    } catch (error) {
      if (process.env['RETRYSAFE_REQUIRE_SERVERS'] === '1') throw error
      reason = error instanceof Error ? error.message : String(error)
      console.log(`not tested: chromium (${reason})`)
    }
  }
  return reason === undefined
}

/** Starts a browser with a new, empty profile, which goes when the browser is closed or this process ends. @throws Error */
export async function launchChromium(): Promise<Browser> {
  return await chromium.launch({ executablePath: chromiumProgram(), args: [...flags] })
}

/**
 * Starts a browser on a profile in a folder of the caller's, which stays: what a page keeps is there again after the
 * browser has crashed.
 *
 * @throws Error
 */
export async function launchChromiumOn(folder: string): Promise<BrowserContext> {
  return await chromium.launchPersistentContext(folder, {
    executablePath: chromiumProgram(),
    args: [...flags],
  })
}
