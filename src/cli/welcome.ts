/** What `retrysafe gateway` prints when it listens. */
import { randomBytes } from 'node:crypto'
import type { GatewayConfig } from '../gateway/config.ts'
import { shownRedisAddress } from '../gateway/redis-address.ts'

function storeText({ store }: GatewayConfig): string {
  switch (store.kind) {
    case 'memory':
      return 'in memory, gone when this process ends'
    case 'sqlite':
      return `${store.file} (SQLite)`
    case 'redis':
      return shownRedisAddress(store)
    default:
      return store satisfies never
  }
}

/** A key that works in any shell and was never used before, so that the commands work after a restart too. */
function freshKey(): string {
  return `demo-${randomBytes(6).toString('hex')}`
}

function curl(url: string, fields: readonly string[], body: string): string {
  const flags = fields.map((field) => ` -H '${field}'`).join('')
  return `curl -i ${url}${flags} -d '${body}'`
}

/** The command as it was given: from a clone or from the package. */
function command(): string {
  return process.env['npm_lifecycle_event'] === 'start' ? 'npm start --' : 'npx retrysafe gateway'
}

const json = 'Content-Type: application/json'

export function sampleWelcome(origin: string, config: GatewayConfig, ledger: string): string {
  const fields = [`Idempotency-Key: ${freshKey()}`, json]
  if (config.principal.kind === 'header') fields.push(`${config.principal.name}: demo`)
  const url = `${origin}/charges`
  const charge = curl(url, fields, '{"amount":1200,"currency":"eur"}')
  const other = curl(url, fields, '{"amount":9900,"currency":"eur"}')
  return `Retrysafe gateway on ${origin}, in front of the sample payments service.
Records: ${storeText(config)}. Ledger of the sample: ${ledger}.
${
  config.principal.kind === 'anonymous'
    ? 'FOR TRYING OUT ONLY: callers are not told apart (principal: anonymous), so whoever knows a key gets its answer.\n'
    : ''
}
1. Charge (201):

${charge}

2. The same again (201, Idempotent-Replayed: true, the same id, still one row in ${origin}/ledger):

${charge}

3. Another body under the same key (422):

${other}

Ctrl+C ends it. In front of your own service: ${command()} --upstream http://localhost:3000

`
}

export function ownServiceWelcome(origin: string, config: GatewayConfig): string {
  const { principal } = config
  const fields = [`Idempotency-Key: ${freshKey()}`, json]
  if (principal.kind === 'header') {
    fields.push(principal.name === 'authorization' ? 'Authorization: Bearer demo' : `${principal.name}: demo`)
  }
  return `Retrysafe gateway on ${origin}, in front of ${config.upstream}.
Records: ${storeText(config)}.
${
  principal.kind === 'anonymous'
    ? 'Callers are not told apart (principal: anonymous): whoever knows a key gets its answer.'
    : `Callers are told apart by the field ${principal.name}; a request with a key and without it is refused (401).
Where there is none to tell callers by, --principal anonymous makes all callers one.`
}

Send a POST with a key twice, with a path of your service; the second answer carries Idempotent-Replayed: true.
The third command sends another body under the same key and is refused (422):

${curl(`${origin}/your/path`, fields, '{"try":1}')}

${curl(`${origin}/your/path`, fields, '{"try":1}')}

${curl(`${origin}/your/path`, fields, '{"try":2}')}

`
}
