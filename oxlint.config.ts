import type { DummyRuleMap, OxlintConfig, OxlintOverride } from 'oxlint'
import {
  arrows,
  bundledRooms,
  freeRooms,
  mainEntry,
  peers,
  runtimeFile,
  type UnitRoom,
  units,
} from './scripts/arrows.ts'

interface ImportPattern {
  regex: string
  message: string
  allowTypeImports?: boolean
}

const rooms = [...Object.keys(arrows), ...freeRooms]

// The regular expressions of the linter have no look-around, so each names what is forbidden.
const anyPackage = '^[^.]'
const anyPackageButNode = '^([^.n]|n[^o]|no[^d]|nod[^e]|node[^:])'

function without(names: readonly string[], ...kept: string[]): string {
  return names.filter((name) => !kept.includes(name)).join('|')
}

function otherRooms(room: string, allowed: readonly string[]): ImportPattern {
  return {
    regex: `^(\\.\\./)+((${without(rooms, room, ...allowed)})/|index\\.ts$)`,
    message: `${room} may import ${[room, ...allowed].join(', ')} and no other room.`,
  }
}

function otherUnits(room: UnitRoom, own: string): ImportPattern {
  return {
    regex: `^(\\./|\\.\\./|(\\.\\./)+${room}/)(${without(units[room], own)})(\\.ts$|/)`,
    message: `Files of ${room} for one thing never import the files for another.`,
  }
}

const packages: ImportPattern = {
  regex: anyPackageButNode,
  message: 'The package has no dependencies: declare the methods you use as a structural type.',
  allowTypeImports: true,
}

/** For a file on a library of the reader's. Browsers load it, too: it has nothing of Node. */
function packagesBut(peer: string): ImportPattern {
  const others = Array.from(peer, (letter, at) =>
    at === 0 ? `[^.${letter}]` : `${peer.slice(0, at)}($|[^${letter}])`,
  )
  return { ...packages, regex: `^(${others.join('|')}|${peer}.)` }
}

function imports(...patterns: ImportPattern[]): DummyRuleMap {
  return { 'no-restricted-imports': ['error', { patterns }] }
}

const fromRuntime = 'Time, randomness and timers come in through the runtime.'

const timers = [
  'setTimeout',
  'setInterval',
  'setImmediate',
  'clearTimeout',
  'clearInterval',
  'clearImmediate',
]

function pure(...globals: string[]): DummyRuleMap {
  const named = [...timers, 'performance', 'crypto', ...globals]
  return {
    'no-restricted-globals': ['error', ...named.map((name) => ({ name, message: fromRuntime }))],
    'no-restricted-properties': [
      'error',
      { object: 'Date', property: 'now', message: fromRuntime },
      { object: 'Math', property: 'random', message: fromRuntime },
      { object: 'process', property: 'hrtime', message: fromRuntime },
      { object: 'AbortSignal', property: 'timeout', message: fromRuntime },
    ],
  }
}

function roomOverrides(room: string, allowed: readonly string[]): OxlintOverride[] {
  const files = [`src/${room}/**`]
  const outside = otherRooms(room, allowed)
  switch (room) {
    case 'core':
      return [
        {
          files,
          rules: {
            ...imports(outside, { regex: anyPackage, message: 'core is pure: not even node:*.' }),
            ...pure('process', 'Buffer'),
          },
        },
      ]
    case 'engine': {
      const ambient = { regex: '^node:(timers|perf_hooks|crypto|process)', message: fromRuntime }
      return [
        { files, rules: { ...imports(packages, outside, ambient), ...pure() } },
        {
          files: [runtimeFile],
          rules: {
            ...imports(packages, outside),
            'no-restricted-globals': 'off',
            'no-restricted-properties': 'off',
          },
        },
      ]
    }
    case 'stores':
    case 'http':
    case 'rpc':
    case 'tools':
      return [
        { files, rules: imports(packages, outside, otherUnits(room, '')) },
        ...units[room].map((unit) => ({
          files: [`src/${room}/${unit}.ts`, `src/${room}/${unit}/**`],
          rules: imports(packages, outside, otherUnits(room, unit)),
        })),
      ]
    default:
      return [{ files, rules: bundledRooms.includes(room) ? imports(outside) : imports(packages, outside) }]
  }
}

const mainEntryOverride: OxlintOverride = {
  files: ['src/index.ts'],
  rules: imports(packages, {
    regex: `^\\./((${without(rooms, ...mainEntry.rooms, 'stores')})/|stores/(${without(units.stores, ...mainEntry.stores)})(\\.ts$|/))`,
    message: 'The main entry exports core, engine and the memory store; all else has its own subpath.',
  }),
}

const config: OxlintConfig = {
  plugins: ['typescript', 'unicorn', 'oxc', 'import'],
  categories: { correctness: 'error' },
  options: { typeAware: true, denyWarnings: true },
  env: { node: true, es2024: true },
  ignorePatterns: [
    'dist',
    '.scratch',
    '.retrysafe',
    '.next',
    'next-env.d.ts',
    '.react-router',
    '{examples,test/http/apps}/react-router/build',
  ],
  rules: {
    'typescript/no-floating-promises': 'error',
    'typescript/no-misused-promises': 'error',
    'typescript/await-thenable': 'error',
    // A switch either names every member or ends in a default that takes `never`, which the compiler checks.
    'typescript/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
    'import/no-cycle': ['error', { ignoreTypes: false }],
    'no-console': 'error',
    eqeqeq: 'error',
    // Contracts are written with method signatures and built from closures, which have no `this` to lose.
    'typescript/unbound-method': 'off',
    'typescript/no-base-to-string': 'off',
    // Both take a string that is spread into its characters for a mistake.
    'unicorn/no-useless-spread': 'off',
    'typescript/no-misused-spread': 'off',
    'typescript/no-redundant-type-constituents': 'off',
  },
  overrides: [
    ...Object.entries(arrows).flatMap(([room, allowed]) => roomOverrides(room, allowed)),
    ...Object.entries(peers).map(([file, peer]) => {
      const [room = ''] = file.split('/')
      return {
        files: [`src/${file}`],
        rules: imports(packagesBut(peer), otherRooms(room, arrows[room] ?? [])),
      }
    }),
    mainEntryOverride,
    {
      files: [
        'src/cli/**',
        'src/gateway/log.ts',
        'src/lambda/batch.ts',
        'scripts/**',
        'test/**',
        'bench/**',
        'examples/**',
      ],
      rules: { 'no-console': 'off' },
    },
    // A handler of a test server may be async: the test run fails on a rejection that nobody handles.
    {
      files: ['test/**'],
      rules: { 'typescript/no-misused-promises': ['error', { checksVoidReturn: false }] },
    },
  ],
}

export default config
