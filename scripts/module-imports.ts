/** Finds every import of a module, by parsing it: static, re-exported, dynamic and in types. */
import { readdirSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { type ESTree, parseSync, Visitor } from 'vite'

/** One mention of another module. */
export interface ModuleImport {
  readonly specifier: string
  /** Offsets of the quoted specifier in the source. */
  readonly start: number
  readonly end: number
  /** What is imported: export names, `default`, or `*` for all of it. */
  readonly names: readonly string[]
  readonly typeOnly: boolean
}

type Exported = { readonly type: string; readonly name?: string; readonly value?: unknown }

function nameOf(exported: Exported): string {
  return exported.type === 'Literal' ? String(exported.value) : String(exported.name)
}

function importedName(specifier: ESTree.ImportDeclarationSpecifier): string {
  if (specifier.type === 'ImportDefaultSpecifier') return 'default'
  return specifier.type === 'ImportNamespaceSpecifier' ? '*' : nameOf(specifier.imported)
}

function isTypeSpecifier(specifier: ESTree.ImportDeclarationSpecifier): boolean {
  return specifier.type === 'ImportSpecifier' && specifier.importKind === 'type'
}

/** The one module that imports what its user names, and nothing else that is not known before. */
const loadsUserModules = /(?:^|\/)cli\/user-module\.[jt]s$/

/**
 * The imports of one module.
 *
 * @throws Error when the source does not parse, or imports a module whose name is computed
 */
export function moduleImports(file: string, source: string): ModuleImport[] {
  const parsed = parseSync(file, source)
  if (parsed.errors.length > 0) throw new Error(`${file}: ${parsed.errors[0]?.message}`)
  const found: ModuleImport[] = []
  const add = (literal: ESTree.Node, names: readonly string[], typeOnly: boolean) => {
    if (literal.type !== 'Literal') throw new Error(`${file}: an import whose module name is computed`)
    found.push({ specifier: String(literal.value), start: literal.start, end: literal.end, names, typeOnly })
  }
  new Visitor({
    ImportDeclaration(node) {
      const types = node.specifiers.length > 0 && node.specifiers.every(isTypeSpecifier)
      add(node.source, node.specifiers.map(importedName), node.importKind === 'type' || types)
    },
    ExportNamedDeclaration(node) {
      if (node.source === null) return
      const types = node.specifiers.length > 0 && node.specifiers.every((one) => one.exportKind === 'type')
      add(
        node.source,
        node.specifiers.map((one) => nameOf(one.local)),
        node.exportKind === 'type' || types,
      )
    },
    ExportAllDeclaration(node) {
      add(node.source, ['*'], node.exportKind === 'type')
    },
    ImportExpression(node) {
      if (!loadsUserModules.test(file)) add(node.source, ['*'], false)
    },
    TSImportType(node) {
      add(node.source, ['*'], true)
    },
  }).visit(parsed.program)
  return found
}

/** Whether a specifier names a package: neither a relative path nor a part of Node. */
export function isPackage(specifier: string): boolean {
  return !specifier.startsWith('.') && !specifier.startsWith('node:')
}

/** The files below `folder` whose names end so, as paths with `/`, relative to it and sorted. */
export function filesBelow(folder: string, ending: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .sort()
}
