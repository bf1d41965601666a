/** The gateway passes every case that applies to it, in a process of its own, on a SQLite file. */
import { launchTarget } from './conformance/launch.ts'
import { httpConformance } from './conformance/suite.ts'
import type { Capability, TargetDeclaration } from './conformance/target.ts'

const base: readonly Capability[] = [
  'do',
  'get',
  'patch',
  'route2',
  'json',
  'multipart',
  'store4xx',
  'limit',
  'gateway',
]

const settings: Readonly<Record<string, TargetDeclaration>> = {
  'key optional, unknown outcomes held': {
    caps: [
      ...base,
      'auth',
      'optional',
      'lenient',
      'reject',
      'release5xx',
      'two',
      'cors',
      'storedown',
      'kill',
      'lease1s',
      'crash-reject',
    ],
    skip: { M09: 'the gateway knows a caller by the whole field and cannot tell a renewed credential' },
  },
  'key required and strict, unknown outcomes rerun': {
    caps: [
      ...base,
      'required',
      'strict',
      'wait',
      'store5xx',
      'ttl2s',
      'expirenew',
      'kill',
      'lease1s',
      'crash-rerun',
    ],
    skip: {
      G02: 'the operation declares that an unknown outcome runs again',
      X06: 'a restart may take longer than the two seconds for which outcomes are kept here',
    },
  },
}

for (const [setting, { caps, skip = {} }] of Object.entries(settings)) {
  const declared: TargetDeclaration = { caps, vars: { codes: true }, skip }
  httpConformance(`gateway, ${setting}`, declared, () =>
    launchTarget({
      command: `exec "${process.execPath}" test/http/fixture/start.ts --adapter gateway`,
      declared,
    }),
  )
}
