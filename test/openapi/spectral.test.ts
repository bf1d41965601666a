/** The rule set for Spectral, run by Spectral, beside our own rules of the same names. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type RulesetDefinition, Spectral } from '@stoplight/spectral-core'
import functions from '@stoplight/spectral-functions'
import { describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { lintDocument } from '../../src/openapi/lint.ts'
import { patchDocument } from '../../src/openapi/patch.ts'
import { badDocuments, goodDocuments } from './documents.ts'

interface WrittenRules {
  readonly formats: unknown
  readonly rules: Record<string, { readonly then: object | readonly object[] }>
}

/** The file as Spectral's command line reads it: names of functions become the functions. */
function ruleset(): RulesetDefinition & { readonly rules: Record<string, object> } {
  const text = readFileSync(join(import.meta.dirname, '../../openapi/spectral.yaml'), 'utf8')
  const written = parse(text, { merge: true }) as WrittenRules
  expect(written.formats).toEqual(['oas3'])
  const rules = Object.entries(written.rules).map(([name, rule]) => {
    const checks = [rule.then].flat() as { function: keyof typeof functions }[]
    return [
      name,
      // oxlint-disable-next-line unicorn/no-thenable -- Spectral's word for what a rule does.
      { ...rule, then: checks.map((check) => ({ ...check, function: functions[check.function] })) },
    ]
  })
  return { rules: Object.fromEntries(rules) as never }
}

const spectral = new Spectral()
spectral.setRuleset(ruleset())

/** Each finding as its rule and its operation, once. */
async function spectralSays(document: object): Promise<string[]> {
  const results = await spectral.run(JSON.stringify(document))
  return [
    ...new Set(
      results.map(({ code, path }) => {
        const rule = String(code)
          .replace(/^idempotency-/, '')
          .replace(/-in-path-item$/, '')
        return `${rule} ${String(path[1])}`
      }),
    ),
  ].toSorted()
}

/** Rules that need more of a document than one place. */
const ownRules = new Set(['header-name-differs', 'reference-not-followed', 'reference-broken'])

function weSay(document: object): string[] {
  return [
    ...new Set(
      lintDocument(document)
        .filter(({ code }) => !ownRules.has(code))
        .map(({ code, path }) => `${code} ${String(path)}`),
    ),
  ].toSorted()
}

describe('Spectral', () => {
  test.each(Object.entries(goodDocuments))('has nothing against: %s', async (_, document) => {
    expect(await spectralSays(document)).toEqual([])
    expect(weSay(document)).toEqual([])
  })

  test.each(Object.entries(badDocuments).filter(([, { isShared }]) => isShared !== false))(
    'finds what our own rules find: %s',
    async (_, { document, findings }) => {
      const said = await spectralSays(document)
      expect(said).toEqual(weSay(document))
      expect(said.length).toBeGreaterThan(0)
      expect(findings.length).toBeGreaterThan(0)
    },
  )

  test('has nothing against a patched document', async () => {
    for (const { document, patchable } of Object.values(badDocuments)) {
      if (patchable !== true) continue
      expect(await spectralSays(patchDocument(document))).toEqual([])
    }
  })

  test('has a rule for each of ours but those that need more than one place', () => {
    const known = new Set(Object.keys(ruleset().rules).map((name) => name.replace(/^idempotency-/, '')))
    const found = new Set(
      Object.values(badDocuments).flatMap(({ findings }) =>
        findings.map((one) => one.split(' ')[0] as string),
      ),
    )
    for (const code of found) expect(known.has(code) || ownRules.has(code), code).toBe(true)
  })
})

test('the rule set is a plain YAML file without what only some programs read', () => {
  const text = readFileSync(join(import.meta.dirname, '../../openapi/spectral.yaml'), 'utf8')
  expect(parse(stringify(parse(text)))).toEqual(parse(text))
})
