/** Reads what a GraphQL document asks of the mutation type: its root fields, their arguments and their keys. */

interface NameNode {
  readonly value: string
}

interface ValueNode {
  readonly kind: string
  readonly value?: unknown
  readonly name?: NameNode
  readonly values?: readonly ValueNode[]
  readonly fields?: readonly ArgumentNode[]
}

interface ArgumentNode {
  readonly name: NameNode
  readonly value: ValueNode
}

interface DirectiveNode {
  readonly name: NameNode
  readonly arguments?: readonly ArgumentNode[] | undefined
}

interface SelectionNode {
  readonly kind: string
  readonly name?: NameNode | undefined
  readonly alias?: NameNode | undefined
  readonly arguments?: readonly ArgumentNode[] | undefined
  readonly directives?: readonly DirectiveNode[] | undefined
  readonly selectionSet?: SelectionSetNode | undefined
  readonly typeCondition?: { readonly name: NameNode } | undefined
  readonly loc?: { readonly startToken: { readonly line: number; readonly column: number } } | undefined
}

interface SelectionSetNode {
  readonly kind: string
  readonly selections: readonly SelectionNode[]
}

interface DefinitionNode {
  readonly kind: string
  readonly operation?: string
  readonly name?: NameNode | undefined
  readonly typeCondition?: { readonly name: NameNode }
  readonly selectionSet?: SelectionSetNode
  readonly variableDefinitions?:
    | readonly {
        readonly variable: { readonly name: NameNode }
        readonly defaultValue?: ValueNode | undefined
      }[]
    | undefined
}

/** A parsed and validated document; any `DocumentNode` fits. */
export interface GraphqlDocument {
  readonly kind: string
  readonly definitions: readonly DefinitionNode[]
}

/** The methods of a schema that are used; any `GraphQLSchema` fits. */
export interface GraphqlSchema {
  getMutationType():
    | { readonly name: string; getFields(): Readonly<Record<string, { readonly type: unknown }>> }
    | null
    | undefined
  getType(name: string): object | undefined
  // biome-ignore lint/suspicious/noExplicitAny: types of the user's own schema
  isSubType(abstract: any, maybe: any): boolean
}

export type Variables = Readonly<Record<string, unknown>>

/** A field of the mutation type, as an operation asks for it. */
export interface RootField {
  /** Its alias or name: where its value stands in `data`. */
  readonly responseName: string
  readonly fieldName: string
  /** Every mention of the field under this name. */
  readonly nodes: readonly SelectionNode[]
  /** A failure takes the whole `data` with it. */
  readonly isNonNull: boolean
}

/** The mutation that a document runs under a name, `undefined` where that is another operation or none. */
export function mutationOf(
  document: GraphqlDocument,
  operationName: string | null | undefined,
): DefinitionNode | undefined {
  const operations = document.definitions.filter(({ kind }) => kind === 'OperationDefinition')
  const named = operationName ?? undefined
  const found = named === undefined ? operations[0] : operations.find(({ name }) => name?.value === named)
  return found?.operation === 'mutation' ? found : undefined
}

/** The variables of an operation, with the defaults of those that are not given. */
export function variablesOf(operation: DefinitionNode, given: Variables | null | undefined): Variables {
  const variables: Record<string, unknown> = Object.create(null) as Record<string, unknown>
  for (const { variable, defaultValue } of operation.variableDefinitions ?? []) {
    const { value: name } = variable.name
    if (given !== undefined && given !== null && Object.hasOwn(given, name)) variables[name] = given[name]
    else if (defaultValue !== undefined) variables[name] = valueOf(defaultValue, {})
  }
  return variables
}

/** The root fields of a mutation in the order in which they run, fragments resolved. */
export function rootFieldsOf(
  schema: GraphqlSchema,
  document: GraphqlDocument,
  operation: DefinitionNode,
  variables: Variables,
): RootField[] {
  const mutationType = schema.getMutationType()
  const types = mutationType?.getFields() ?? {}
  const nodes = new Map<string, SelectionNode[]>()
  const visited = new Set<string>()

  function collect(selections: readonly SelectionNode[]): void {
    for (const selection of selections) {
      if (!isIncluded(selection, variables)) continue
      if (selection.kind === 'Field') {
        const name = responseNameOf(selection)
        const mentions = nodes.get(name)
        if (mentions === undefined) nodes.set(name, [selection])
        else mentions.push(selection)
        continue
      }
      const fragment =
        selection.kind === 'FragmentSpread' ? unvisited(document, selection, visited) : selection
      if (fragment?.selectionSet !== undefined && applies(fragment.typeCondition?.name.value)) {
        collect(fragment.selectionSet.selections)
      }
    }
  }

  function applies(condition: string | undefined): boolean {
    if (condition === undefined || condition === mutationType?.name) return true
    const type = schema.getType(condition)
    return type !== undefined && schema.isSubType(type, mutationType)
  }

  collect(operation.selectionSet?.selections ?? [])
  return Array.from(nodes, ([responseName, mentions]) => {
    const fieldName = mentions[0]?.name?.value ?? ''
    const type = Object.hasOwn(types, fieldName) ? types[fieldName]?.type : undefined
    return { responseName, fieldName, nodes: mentions, isNonNull: String(type).endsWith('!') }
  })
}

/** The document with an operation that asks for these fields only. */
export function documentOf(
  document: GraphqlDocument,
  operation: DefinitionNode,
  fields: readonly RootField[],
): GraphqlDocument {
  const selectionSet = { kind: 'SelectionSet', selections: fields.flatMap(({ nodes }) => nodes) }
  const definitions = document.definitions.map((definition) =>
    definition === operation ? { ...operation, selectionSet } : definition,
  )
  return { ...document, definitions }
}

/** The arguments of a field, variables resolved. */
export function argumentsOf({ nodes }: RootField, variables: Variables): Record<string, unknown> {
  return membersOf(nodes[0]?.arguments ?? [], variables)
}

/** What every mention of a field says in an argument of a directive. */
export function directiveValuesOf(
  { nodes }: RootField,
  directive: string,
  argument: string,
  variables: Variables,
): unknown[] {
  return nodes.flatMap(({ directives = [] }) =>
    directives
      .filter(({ name }) => name.value === directive)
      .map((found) => membersOf(found.arguments ?? [], variables)[argument]),
  )
}

/**
 * One text for all equal sub-selections: two documents with the same text, and equal arguments of the field, get the
 * same answer for it. Each fragment is written once, so that the text grows with the document and no faster.
 */
export function selectionText(document: GraphqlDocument, field: RootField, variables: Variables): string {
  const visited = new Set<string>()
  const fragments: string[] = []

  function write({ selections }: SelectionSetNode): string {
    return `{${selections.map(writeSelection).join(' ')}}`
  }

  function writeSelection(selection: SelectionNode): string {
    const { name, alias, typeCondition, selectionSet } = selection
    const rest =
      directivesText(selection, variables) + (selectionSet === undefined ? '' : write(selectionSet))
    if (selection.kind === 'InlineFragment') return `... ${typeCondition?.name.value ?? ''}${rest}`
    if (selection.kind === 'Field') {
      const text = JSON.stringify(membersOf(selection.arguments ?? [], variables))
      return `${alias === undefined ? '' : `${alias.value}:`}${name?.value}(${text})${rest}`
    }
    const fragment = unvisited(document, selection, visited)
    if (fragment?.selectionSet !== undefined) {
      const text = write(fragment.selectionSet)
      fragments.push(`${fragment.name?.value} ${fragment.typeCondition?.name.value}${text}`)
    }
    return `...${name?.value}${rest}`
  }

  const selections = field.nodes.map(({ selectionSet }) =>
    selectionSet === undefined ? '' : write(selectionSet),
  )
  return [...selections, ...fragments].join(' ')
}

function directivesText({ directives = [] }: SelectionNode, variables: Variables): string {
  return directives
    .map(
      ({ name, arguments: given = [] }) => `@${name.value}(${JSON.stringify(membersOf(given, variables))})`,
    )
    .join('')
}

function responseNameOf({ alias, name }: SelectionNode): string {
  return alias?.value ?? name?.value ?? ''
}

function unvisited(
  document: GraphqlDocument,
  { name }: SelectionNode,
  visited: Set<string>,
): DefinitionNode | undefined {
  if (name === undefined || visited.has(name.value)) return undefined
  visited.add(name.value)
  return document.definitions.find(
    (definition) => definition.kind === 'FragmentDefinition' && definition.name?.value === name.value,
  )
}

function isIncluded({ directives = [] }: SelectionNode, variables: Variables): boolean {
  return directives.every(({ name, arguments: given = [] }) => {
    if (name.value !== 'skip' && name.value !== 'include') return true
    return membersOf(given, variables)['if'] === (name.value === 'include')
  })
}

function membersOf(given: readonly ArgumentNode[], variables: Variables): Record<string, unknown> {
  const members: Record<string, unknown> = {}
  // In the order of their names, and own members whatever the name is: JSON of equal members is equal.
  for (const { name, value } of [...given].sort((one, other) =>
    one.name.value < other.name.value ? -1 : 1,
  )) {
    const enumerable = { enumerable: true, configurable: true, writable: true }
    const found = valueOf(value, variables)
    if (found !== undefined) Object.defineProperty(members, name.value, { value: found, ...enumerable })
  }
  return members
}

function valueOf(node: ValueNode, variables: Variables): unknown {
  switch (node.kind) {
    case 'Variable':
      return variables[node.name?.value ?? '']
    case 'IntValue':
    case 'FloatValue': {
      // A number that a double cannot hold stays the text that it is.
      const number = Number(node.value)
      return Number.isSafeInteger(number) || String(number) === node.value ? number : node.value
    }
    case 'ListValue':
      return (node.values ?? []).map((item) => valueOf(item, variables) ?? null)
    case 'ObjectValue':
      return membersOf(node.fields ?? [], variables)
    case 'NullValue':
      return null
    default:
      return node.value
  }
}
