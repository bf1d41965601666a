/**
 * What `@nestjs/swagger` reads of a protected handler, so that its documents say what the layer does without a line of
 * code in the application. It reads metadata when a document is made, which is after the application has started.
 */
import { documentOperation } from '../../openapi/document-operation.ts'
import type { ProtectedOperation } from '../../openapi/protected-operation.ts'
import { type NestClass, type NestHandler, readMetadata, statusOf, writeMetadata } from './metadata.ts'

const parametersName = 'swagger/apiParameters'
const responsesName = 'swagger/apiResponse'
const extensionsName = 'swagger/apiExtension'

/** What the application's own decorators say of a handler, in swagger's own words. */
interface Authored {
  readonly parameters: readonly object[]
  readonly responses: Readonly<Record<string, object>>
  readonly extensions: Readonly<Record<string, unknown>>
}

/** Kept from before the first writing: a second application in one process may protect the same handler otherwise. */
const authored = new WeakMap<NestHandler, Authored>()

/** Writes what a document says of a protected handler, beside what its author wrote. */
export function documentHandler(
  controller: NestClass,
  name: string,
  handler: NestHandler,
  protection: ProtectedOperation,
): void {
  let before = authored.get(handler)
  if (before === undefined) authored.set(handler, (before = authoredOf(controller, name, handler)))
  const { parameters, responses, extensions } = before
  const operation = documentOperation({ ...extensions, parameters, responses }, protection, '3.0')
  const { parameters: allParameters, responses: allResponses, ...allExtensions } = operation
  writeMetadata(parametersName, allParameters, handler)
  writeMetadata(responsesName, allResponses, handler)
  writeMetadata(extensionsName, allExtensions, handler)
}

function authoredOf(controller: NestClass, name: string, handler: NestHandler): Authored {
  const read = <Value>(metadataName: string, fallback: Value): Value =>
    (readMetadata(metadataName, handler) as Value | undefined) ?? fallback
  return {
    parameters: read(parametersName, []),
    responses: read(responsesName, undefined) ?? usualResponse(controller, name, handler),
    extensions: read(extensionsName, {}),
  }
}

/** What swagger says of a handler without decorators, but no longer would once there are others. */
function usualResponse(controller: NestClass, name: string, handler: NestHandler): Record<string, object> {
  const { _OPENAPI_METADATA_FACTORY: compiled } = controller as CompiledController
  const { type, status = statusOf(handler) } = compiled?.()[name] ?? {}
  const described =
    type === undefined ? {} : { type: Array.isArray(type) ? type[0] : type, isArray: Array.isArray(type) }
  return { [status]: { description: '', ...described } }
}

/** A controller that was compiled with swagger's plugin, which finds out what handlers return. */
interface CompiledController {
  readonly _OPENAPI_METADATA_FACTORY?: () => Record<string, { type?: unknown; status?: number }>
}
