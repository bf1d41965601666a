/** The conformance cases on one adapter, each server in a process of its own on a SQLite file. */
import { adapters } from './fixture/adapters.ts'
import { applicable } from './conformance/harness.ts'
import { launchTarget } from './conformance/launch.ts'
import { loadCases } from './conformance/cases.ts'
import { httpConformance } from './conformance/suite.ts'
import type { Capability, TargetDeclaration } from './conformance/target.ts'

const base: readonly Capability[] = [
  'do',
  'auth',
  'raw',
  'get',
  'patch',
  'route2',
  'json',
  'multipart',
  'store4xx',
  'limit',
]

/** How an adapter differs from the others. */
interface Differences {
  /** Capabilities that are not there. Default: none. */
  readonly without?: readonly Capability[]
  /** Capabilities that others do not have. Default: none. */
  readonly with?: readonly Capability[]
  /** Cases that it cannot pass by its nature, by id, each with its reason. Default: none. */
  readonly skip?: Readonly<Record<string, string>>
}

const hostReadsFirst = 'a function is called when its host has read the whole request'

/** What differs, by adapter; nothing for the others. */
const differences: Readonly<Record<string, Differences>> = {
  elysia: { skip: { L04: 'Elysia parses a body before any hook of a route can decide' } },
  lambda: { skip: { L04: hostReadsFirst } },
  'lambda-v1': { skip: { L04: hostReadsFirst } },
  nest: { skip: { L04: 'Nest reads the body before guards and interceptors' } },
  'nest-fastify': { skip: { L04: 'Nest reads the body before guards and interceptors' } },
  // After a crash nothing is unknown, a 500 is never kept, and an answer over the limit is refused.
  'node-transaction': { without: ['crash-reject', 'store5xx', 'limit'], with: ['transaction'] },
}

interface Setting {
  readonly name: string
  readonly caps: readonly Capability[]
  /** Cases to run here although an earlier setting runs them too. */
  readonly again?: RegExp
}

/** Settings that exclude each other. A case runs in the first one that it applies to. */
const allSettings: readonly Setting[] = [
  {
    name: 'key optional, duplicates refused, unknown outcomes held',
    caps: [
      ...base,
      'optional',
      'lenient',
      'reject',
      'release5xx',
      'cors',
      'two',
      'storedown',
      'kill',
      'lease1s',
      'crash-reject',
    ],
  },
  {
    name: 'duplicates wait, unknown outcomes rerun',
    caps: [...base, 'optional', 'lenient', 'wait', 'release5xx', 'kill', 'lease1s', 'crash-rerun', 'two'],
    again: /^(C|X0[16]|T05)/,
  },
  {
    name: 'key required and strict',
    caps: [...base, 'required', 'strict', 'reject', 'release5xx'],
    again: /^(B06|K|M02)/,
  },
  {
    name: 'short retention, 5xx kept',
    caps: [...base, 'optional', 'lenient', 'reject', 'ttl2s', 'expirenew', 'store5xx'],
  },
  {
    name: 'short retention with tombstones',
    caps: [...base, 'optional', 'lenient', 'reject', 'ttl2s', 'tomb', 'release5xx'],
  },
]

/** The settings that an adapter runs in, with what each declares. */
function settingsOf(adapter: string): { readonly setting: Setting; readonly declared: TargetDeclaration }[] {
  const { without = [], with: added = [], skip = {} } = differences[adapter] ?? {}
  const more = [...added, ...(adapters[adapter]?.listenHttp2 === undefined ? [] : (['h2'] as const))]
  return allSettings.map((setting) => ({
    setting,
    declared: {
      caps: [...setting.caps.filter((word) => !without.includes(word)), ...more],
      vars: { codes: true },
      skip,
    },
  }))
}

/** The cases that an adapter runs in no setting, by id, each with its reason. */
export function notApplicable(adapter: string): Map<string, string> {
  const reasons = new Map<string, string>()
  for (const entry of loadCases()) {
    const each = settingsOf(adapter).map(({ declared }) => applicable(entry, declared))
    if (!each.includes(undefined)) reasons.set(entry.id, each[0] as string)
  }
  return reasons
}

/** Registers every case once: where it applies, or with the reason why it applies nowhere. */
export function adapterConformance(adapter: string): void {
  const settings = settingsOf(adapter)
  const home = new Map(
    loadCases().map((entry) => {
      const first = settings.findIndex(({ declared }) => applicable(entry, declared) === undefined)
      return [entry.id, Math.max(first, 0)]
    }),
  )
  for (const [at, { setting, declared }] of settings.entries()) {
    const command = `exec "${process.execPath}" test/http/fixture/start.ts --adapter ${adapter}`
    httpConformance(
      `${adapter}, ${setting.name}`,
      declared,
      () => launchTarget({ command, declared }),
      (entry) =>
        home.get(entry.id) === at ||
        (setting.again?.test(entry.id) === true && applicable(entry, declared) === undefined),
    )
  }
}
