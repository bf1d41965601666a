/** The page of `page/main.ts`, built as a shop would build it and served beside the real server. */
import { join } from 'node:path'
import { build, type Rolldown } from 'vite'
import { type AtEnd, type Charges, startCharges } from './charges.ts'

/** The page's script, bundled for browsers. */
export async function builtPage(): Promise<string> {
  const entry = join(import.meta.dirname, 'page/main.ts')
  const built = await build({
    configFile: false,
    logLevel: 'warn',
    root: join(import.meta.dirname, 'page'),
    build: { write: false, target: 'es2023', minify: false, rollupOptions: { input: entry } },
  })
  const [output] = (Array.isArray(built) ? built : [built]) as Rolldown.RolldownOutput[]
  const script = output?.output.find((file) => file.type === 'chunk' && file.isEntry)
  if (script?.type !== 'chunk') throw new Error('No script was built.')
  return script.code
}

const html = `<!doctype html>
<html lang="en"><title>Pay</title>
<form><input name="amount" value="100"><button>Pay</button></form><output></output>
<script type="module" src="/page.js"></script>
</html>`

/** A real server that charges, with the page in front; under `/sandboxed` the page may not use any storage. */
export async function startShop(script: string, atEnd?: AtEnd): Promise<Charges> {
  const charges = await startCharges(atEnd)
  charges.app.get('/', (_req, res) => res.type('html').send(html))
  charges.app.get('/sandboxed', (_req, res) =>
    res.set('content-security-policy', 'sandbox allow-scripts allow-forms').type('html').send(html),
  )
  charges.app.get('/page.js', (_req, res) =>
    res.set('access-control-allow-origin', '*').type('js').send(script),
  )
  return charges
}
