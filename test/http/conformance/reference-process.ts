import { join } from 'node:path'
import type { Fault } from './reference-request.ts'
import { startReference } from './reference-server.ts'

// The reference server as a process, so that cases may kill it. Configured by the environment of FIXTURE.md.
const { PORT, FIXTURE_STATE, FIXTURE_CONFIG, REFERENCE_FAULT } = process.env
const { caps = [] } = JSON.parse(FIXTURE_CONFIG ?? '{}') as { caps?: string[] }
const state = FIXTURE_STATE ?? '.'
await startReference(
  {
    required: caps.includes('required'),
    transaction: caps.includes('transaction'),
    onCrash: caps.includes('crash-rerun') ? 'rerun' : 'reject',
    recordsFile: join(state, 'records.json'),
    ...(REFERENCE_FAULT === undefined ? {} : { fault: REFERENCE_FAULT as Fault }),
  },
  { port: Number(PORT ?? 0), counterFile: join(state, 'effects') },
)
