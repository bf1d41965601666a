/** A shop that a test can kill: `shop-process.ts <folder> <port> <onUnknown> [<where it stops>]`. */
import { appendFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createIdempotency } from '../../../src/engine/idempotency.ts'
import { sqliteStore } from '../../../src/stores/sqlite.ts'
import { shop } from './shop.ts'

const [folder = '', port = '', onUnknown = '', stops] = process.argv.slice(2)
const file = join(folder, 'ledger')
const stop = (where: string) => async (): Promise<void> => {
  if (where !== stops) return
  appendFileSync(join(folder, 'stopped'), where)
  await new Promise(() => {})
}

shop({
  idem: createIdempotency({ store: sqliteStore({ file: join(folder, 'idempotency.db') }) }),
  ledger: {
    charge(amount) {
      appendFileSync(file, `${amount}\n`)
      return readFileSync(file, 'utf8').split('\n').length - 1
    },
  },
  script: readFileSync(join(folder, 'main.js'), 'utf8'),
  policy: { onUnknown: onUnknown as 'hold' | 'rerun', lease: '1s' },
  before: stop('before'),
  after: stop('after'),
}).listen(Number(port), '127.0.0.1', () => process.stdout.write('listening\n'))
