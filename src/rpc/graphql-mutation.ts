/**
 * Mutations with a key for each field. Before the operation is executed every field with a key claims it; the answer
 * of each field that ran is settled by itself before the result leaves.
 *
 *   open    undefined: nothing to protect · an answer: nothing is executed · a document: execute that, then finish
 *   finish  settles each field that ran, and puts stored answers in their places
 *
 * An operation of which one field is refused is not executed at all.
 */
import { InvalidOptionError, MalformedKeyError } from '../core/errors.ts'
import type { IdempotencyContext } from '../engine/guarded-run.ts'
import {
  endOfField,
  errorsOf,
  type Execution,
  type FieldPart,
  type HttpPart,
  mergedResult,
  refusalError,
  replayedPart,
  type SentError,
  type SentResult,
  type StoredField,
} from './graphql-answer.ts'
import {
  argumentsOf,
  directiveValuesOf,
  documentOf,
  type GraphqlDocument,
  type GraphqlSchema,
  mutationOf,
  type RootField,
  rootFieldsOf,
  selectionText,
  type Variables,
  variablesOf,
} from './graphql-document.ts'
import { createCallGuard, type Instead, type Opened } from './guard.ts'
import { keyOfField } from './key-field.ts'
import { checkFunction, type GuardOptions, resolveGuard, type RpcEngine } from './options.ts'

/** The directive that gives a field its key, for the schema. */
export const idempotentDirective = 'directive @idempotent(key: String!) on FIELD'

/** A field of a mutation, as the `key` option gets it. */
export interface MutationField<Context> {
  readonly context: Context
  readonly fieldName: string
  /** As the client sent them. */
  readonly args: Readonly<Record<string, unknown>>
}

/** Options of the GraphQL plugins. */
export interface MutationOptions<Context> extends GuardOptions {
  /**
   * Who asks: a function of the operation that returns a tenant or user id, or `'anonymous'` written out for a scope
   * that all callers share. Nobody logged in (`undefined` or `null`) is refused. What it throws fails the operation.
   */
  readonly principal:
    | 'anonymous'
    | ((operation: {
        readonly context: Context
      }) => Promise<string | null | undefined> | string | null | undefined)
  /** The key of a field without `@idempotent(key:)`, such as one of its arguments. Default: none. */
  readonly key?: (field: MutationField<Context>) => string | null | undefined
  /**
   * Name of the request field with the key of an operation that has one mutation field. Default `'Idempotency-Key'`.
   */
  readonly header?: string
  /** Name of the field that marks an answer of which every part is a replay, or `false`. Default `'Idempotent-Replayed'`. */
  readonly marker?: string | false
}

/** An operation that is about to be executed. */
export interface MutationRequest<Context> {
  readonly schema: GraphqlSchema
  readonly document: GraphqlDocument
  readonly operationName: string | null | undefined
  readonly variables: Variables | null | undefined
  readonly context: Context
  /** The value of a request field. */
  header(name: string): string | null | undefined
  /** The request carries other operations too, so that its fields belong to none of them. */
  readonly isBatched: boolean
}

/** `judged`: the errors as they were before they were made fit to be sent. */
type Finish = [execution: Execution, result: SentResult, judged: readonly SentError[]]

export interface MutationAnswer {
  readonly result: SentResult
  /** What the replayed errors say about the answer over HTTP. */
  readonly http: HttpPart
}

export type OpenedMutation =
  | { readonly kind: 'answer'; readonly answer: MutationAnswer }
  | {
      readonly kind: 'run'
      readonly document: GraphqlDocument
      /** `undefined`: send the result as it is. */
      finish(...end: Finish): Promise<MutationAnswer | undefined>
    }

export interface MutationGuard<Context> {
  /** Rejects only with what the user's functions throw. */
  open(request: MutationRequest<Context>): Promise<OpenedMutation | undefined>
}

const fieldName = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}$/
const severalFields =
  'The request names one key for several mutation fields. Give each field a key of its own.'
const severalOperations =
  'The request names one key for several operations. Give each field a key of its own.'
const severalKeys = 'The field names more than one key.'
const sharedKey = 'Another field of the operation has the same key.'

/** @throws InvalidOptionError naming option, rule and value */
export function mutationGuard<Context extends object>(
  engine: RpcEngine,
  options: MutationOptions<Context>,
): MutationGuard<Context> {
  const resolved = resolveGuard(engine, options, ['key', 'header', 'marker'])
  const { principal, key, header = 'Idempotency-Key', marker = 'Idempotent-Replayed' } = options
  checkFunction('key', key, 'must be a function of the field that returns its key')
  for (const [name, value] of Object.entries({ header, marker })) {
    if (value === false && name === 'marker') continue
    if (typeof value !== 'string' || !fieldName.test(value)) {
      throw new InvalidOptionError(name, 'must be a field name of at most 64 characters', value)
    }
  }
  const guard = createCallGuard(engine, 'graphql', resolved)

  async function open(request: MutationRequest<Context>): Promise<OpenedMutation | undefined> {
    const operation = mutationOf(request.document, request.operationName)
    if (operation === undefined) return undefined
    const variables = variablesOf(operation, request.variables)
    const fields = rootFieldsOf(request.schema, request.document, operation, variables)
    const keys = keysOf(request, fields, variables)
    if (!resolved.required && fields.every((field) => keys.get(field) === undefined)) return undefined

    const asked = oncePerOperation(() =>
      principal === 'anonymous' ? principal : principal({ context: request.context }),
    )
    const openField = async (field: RootField): Promise<Opened> => {
      if (field.fieldName === '__typename') return { kind: 'pass' }
      const input = (): unknown => ({
        args: argumentsOf(field, variables),
        selection: selectionText(request.document, field, variables),
      })
      return await guard.open({
        operation: field.fieldName,
        key: () => keyIn(keys.get(field)),
        principal: asked,
        input,
      })
    }
    const parts = await openAll(fields, openField)
    const refused = parts.flatMap(({ field, opened }) =>
      opened.kind === 'refused' ? [refusalError(field, opened.refusal)] : [],
    )
    if (refused.length > 0) {
      await giveBack(parts)
      return { kind: 'answer', answer: { result: { errors: refused, data: null }, http: {} } }
    }
    if (parts.every(({ opened }) => opened.kind === 'replay')) {
      return { kind: 'answer', answer: answerOf(parts, {}, new Map()) }
    }
    remember(request.context, parts)
    const executed = parts.filter(({ opened }) => opened.kind !== 'replay')
    const document =
      executed.length === parts.length
        ? request.document
        : documentOf(
            request.document,
            operation,
            executed.map(({ field }) => field),
          )
    return { kind: 'run', document, finish: (...end) => finish(parts, executed, ...end) }
  }

  /** A key by its directive, by the option, or of the request where the operation has one field. */
  function keysOf(
    request: MutationRequest<Context>,
    fields: readonly RootField[],
    variables: Variables,
  ): Map<RootField, KeyOrRule> {
    const keys = new Map<RootField, KeyOrRule>()
    const own = fields.filter((field) => field.fieldName !== '__typename')
    for (const field of own) {
      const named = new Set(directiveValuesOf(field, 'idempotent', 'key', variables))
      const args = (): Record<string, unknown> => argumentsOf(field, variables)
      const given =
        named.size > 0
          ? [...named][0]
          : key?.({ context: request.context, fieldName: field.fieldName, args: args() })
      if (given === undefined || given === null) continue
      keys.set(field, named.size > 1 ? { rule: severalKeys } : { key: given })
    }
    const sent = keys.size === own.length ? undefined : (request.header(header) ?? undefined)
    for (const field of sent === undefined ? [] : own) {
      if (request.isBatched) keys.set(field, { rule: severalOperations })
      else if (own.length > 1) keys.set(field, { rule: severalFields })
      else keys.set(field, { field: sent as string })
    }
    const seen = new Set<unknown>()
    for (const [field, { key: given }] of keys) {
      if (given === undefined) continue
      const identity = resolved.scope === 'operation' ? `${field.fieldName} ${String(given)}` : given
      if (seen.has(identity)) keys.set(field, { rule: sharedKey })
      seen.add(identity)
    }
    return keys
  }

  /** Opens all fields, or none: what the user's functions throw gives back what was claimed. */
  async function openAll(
    fields: readonly RootField[],
    openField: (field: RootField) => Promise<Opened>,
  ): Promise<OpenedField[]> {
    const settled = await Promise.allSettled(fields.map(openField))
    const parts = settled.flatMap((end, at) =>
      end.status === 'fulfilled' ? [{ field: fields[at] as RootField, opened: end.value }] : [],
    )
    const failure = settled.find((end) => end.status === 'rejected')
    if (failure === undefined) return parts
    await giveBack(parts)
    throw failure.reason
  }

  async function giveBack(parts: readonly OpenedField[]): Promise<void> {
    const runs = parts.flatMap(({ opened }) => (opened.kind === 'run' ? [opened.run] : []))
    await Promise.all(runs.map((run) => guard.settle(run, { kind: 'not-run' })))
  }

  async function finish(
    parts: readonly OpenedField[],
    executed: readonly OpenedField[],
    ...[execution, result, judged]: Finish
  ): Promise<MutationAnswer | undefined> {
    const fields = executed.map(({ field }) => field)
    const insteads = new Map<RootField, Instead>()
    await Promise.all(
      executed.map(async ({ field, opened }) => {
        if (opened.kind !== 'run') return
        const instead = await guard.settle(opened.run, endOfField(field, fields, execution, result, judged))
        if (instead !== undefined) insteads.set(field, instead)
      }),
    )
    const isWhole = executed.length === parts.length || result.data === undefined
    return insteads.size === 0 && isWhole ? undefined : answerOf(parts, result, insteads)
  }

  function answerOf(
    parts: readonly OpenedField[],
    result: SentResult,
    insteads: ReadonlyMap<RootField, Instead>,
  ): MutationAnswer {
    const https: HttpPart[] = []
    const ends = parts.map(({ field, opened }): FieldPart => {
      const end = insteads.get(field) ?? opened
      if (end.kind === 'refused') return { field, value: null, errors: [refusalError(field, end.refusal)] }
      if (end.kind === 'replay') {
        const stored = end.value as StoredField
        if (stored.http !== undefined) https.push(stored.http)
        return replayedPart(field, stored)
      }
      const errors = errorsOf(field, result.errors ?? [])
      return { field, value: result.data?.[field.responseName] ?? null, errors }
    })
    const isReplay = parts.every(({ field, opened }) => (insteads.get(field) ?? opened).kind === 'replay')
    const headers = https.flatMap((http) => http.headers ?? [])
    if (isReplay && marker !== false) headers.push([marker, 'true'])
    const statuses = https.flatMap((http) => http.status ?? [])
    return {
      result: mergedResult(ends, result),
      http: { ...(statuses.length === 0 ? {} : { status: Math.max(...statuses) }), headers },
    }
  }

  return { open }
}

interface OpenedField {
  readonly field: RootField
  readonly opened: Opened
}

/** A key as a program passes it, a key as a request field has it, or the rule that the request breaks. */
interface KeyOrRule {
  readonly key?: unknown
  readonly field?: string
  readonly rule?: string
}

function keyIn(given: KeyOrRule | undefined): unknown {
  if (given?.rule !== undefined) throw new MalformedKeyError(given.rule)
  return given?.field === undefined ? given?.key : keyOfField(given.field)
}

function oncePerOperation<Value>(ask: () => Value | Promise<Value>): () => Promise<Value> {
  let asked: Promise<Value> | undefined
  return () => {
    asked ??= (async () => await ask())()
    return asked
  }
}

/** The attempts under which the fields of an operation run, by the context of the operation. */
const attempts = new WeakMap<object, ReadonlyMap<string, IdempotencyContext>>()

function remember(context: object, parts: readonly OpenedField[]): void {
  const runs = parts.flatMap(({ field, opened }) =>
    opened.kind === 'run' ? [[field.responseName, opened.run] as const] : [],
  )
  attempts.set(context, new Map(runs))
}

interface Path {
  readonly prev: Path | undefined
  readonly key: string | number
}

/**
 * The attempt under which a mutation field runs, for its resolver and for those below it; `undefined` where it is not
 * protected.
 *
 * @example
 * charge: (_parent, args, context, info) =>
 *   provider.pay(args, { idempotencyKey: idempotencyOf(context, info)?.downstreamKey('pay') })
 */
export function idempotencyOf(
  context: object,
  info: { readonly path: Path },
): IdempotencyContext | undefined {
  let { path } = info
  while (path.prev !== undefined) path = path.prev
  return attempts.get(context)?.get(String(path.key))
}
