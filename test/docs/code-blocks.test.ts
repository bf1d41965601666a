/**
 * Every code block of the README and the documentation is checked: TypeScript is compiled against the sources,
 * YAML goes through the gateway's own validation, and links between pages lead somewhere.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { parseGatewayConfig } from '../../src/gateway/config.ts'

const root = resolve(import.meta.dirname, '../..')
const pages = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md') && !name.includes('node_modules'))
    .map((name) => join('docs', name)),
]

interface Block {
  readonly name: string
  readonly language: string
  readonly code: string
}

function blocksOf(page: string): Block[] {
  const text = readFileSync(join(root, page), 'utf8')
  return Array.from(text.matchAll(/^```(\w*)[^\n]*\n(.*?)^```$/gms), (match) => ({
    name: `${page}:${text.slice(0, match.index).split('\n').length}`,
    language: match[1] ?? '',
    code: match[2] ?? '',
  }))
}

const blocks = pages.flatMap(blocksOf)

// Inside the project, so that the frameworks that the examples import are found.
mkdirSync(join(root, '.scratch'), { recursive: true })
const scratch = mkdtempSync(join(root, '.scratch', 'docs-'))
afterAll(() => rmSync(scratch, { recursive: true }))

describe('code blocks', () => {
  test('every block says its language, and each language is checked or plain', () => {
    const checked = ['ts', 'tsx', 'yaml', 'sh', '', 'http', 'text', 'json']
    for (const block of blocks) expect(checked, block.name).toContain(block.language)
    expect(blocks.filter((block) => block.language === 'ts').length).toBeGreaterThan(5)
  })

  // The compiler reads the types of every framework.
  test('TypeScript compiles against the sources', { timeout: 120_000 }, () => {
    const names = new Map<string, string>()
    for (const [at, block] of blocks.filter((each) => /^tsx?$/.test(each.language)).entries()) {
      const file = `block-${at}.${block.language}`
      names.set(file, block.name)
      writeFileSync(join(scratch, file), `${block.code}\nexport {}\n`)
    }
    const exported = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      exports: Record<string, { types?: string }>
    }
    const paths: Record<string, string[]> = {}
    for (const [subpath, target] of Object.entries(exported.exports)) {
      if (target.types === undefined) continue
      const source = target.types.replace('./dist/', '../../src/').replace('.d.ts', '.ts')
      paths[join('retrysafe', subpath)] = [source]
    }
    const config = {
      extends: '../../tsconfig.json',
      compilerOptions: {
        paths,
        isolatedDeclarations: false,
        declaration: false,
        // As users of Nest compile.
        experimentalDecorators: true,
        emitDecoratorMetadata: true,
        erasableSyntaxOnly: false,
        // As the bundlers of frameworks resolve: some of them name their parts as Node would not find them.
        module: 'esnext',
        moduleResolution: 'bundler',
        jsx: 'react-jsx',
      },
      include: ['*.ts', '*.tsx'],
    }
    writeFileSync(join(scratch, 'tsconfig.json'), JSON.stringify(config))
    const tsc = spawnSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', scratch], {
      encoding: 'utf8',
    })
    const report = tsc.stdout.replace(
      /\S*(block-\d+\.tsx?)/g,
      (_, file: string) => `${names.get(file)} ${file}`,
    )
    expect(report).toBe('')
    expect(tsc.status).toBe(0)
  })

  test('YAML is a gateway configuration that passes', () => {
    const yaml = blocks.filter((each) => each.language === 'yaml')
    for (const block of yaml) {
      const parsed = parseGatewayConfig(block.code, block.name, { PAYMENTS_URL: 'http://127.0.0.1:3000' })
      expect(parsed.problems, block.name).toEqual([])
    }
  })

  test('shell lines call npm scripts that exist', () => {
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>
    }
    for (const block of blocks.filter((each) => each.language === 'sh')) {
      for (const [, script = ''] of block.code.matchAll(/npm run ([\w:]+)/g)) {
        expect(Object.keys(scripts), block.name).toContain(script)
      }
    }
  })
})

describe('links', () => {
  test.each(pages)('%s leads to pages and headings that exist', (page) => {
    const text = readFileSync(join(root, page), 'utf8').replace(/^```.*?^```$/gms, '')
    for (const [, target = ''] of text.matchAll(/\]\(([^)]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      const [path = '', anchor] = target.split('#')
      const file = path === '' ? join(root, page) : join(root, dirname(page), path)
      expect(existsSync(file), `${page} -> ${target}`).toBe(true)
      if (anchor === undefined) continue
      const headings = Array.from(readFileSync(file, 'utf8').matchAll(/^#+ (.+)$/gm), ([, heading = '']) =>
        heading
          .toLowerCase()
          .replace(/[^\w\- ]/g, '')
          .replaceAll(' ', '-'),
      )
      expect(headings, `${page} -> ${target}`).toContain(anchor)
    }
  })
})
