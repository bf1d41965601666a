/**
 * A shop in a process of its own: `ledger-server.ts <database file> <port>`. A charge is a row that commits together
 * with the record of its answer, so that what a killed process left behind can be counted.
 */
import { once } from 'node:events'
import { DatabaseSync } from 'node:sqlite'
import express from 'express'
import { createIdempotency } from '../../src/engine/idempotency.ts'
import { idempotent, keepRawBody } from '../../src/http/express.ts'
import type { TransactionContext } from '../../src/http/express.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'

const [, , file = '', port = ''] = process.argv
const idem = createIdempotency({ store: sqliteStore({ file }), sweep: false })
const app = express()
app.use(express.json({ verify: keepRawBody }))
app.post(
  '/charges',
  idempotent(idem, { principal: 'anonymous', required: true, transaction: true }),
  (request, response) => {
    const { tx } = (request as unknown as { idempotency: TransactionContext<DatabaseSync> }).idempotency
    const { lastInsertRowid } = tx
      .prepare('INSERT INTO charges VALUES (?)')
      .run((request.body as { call: string }).call)
    response.status(201).json({ id: Number(lastInsertRowid) })
  },
)
const server = app.listen(Number(port), '127.0.0.1')
await once(server, 'listening')
process.on('disconnect', () => process.exit())
process.send?.('ready')
