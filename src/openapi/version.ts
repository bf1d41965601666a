/** The versions of OpenAPI, as far as they differ in what is written here. */
import type { JsonObject } from './json.ts'

/** Version of a document, without its patch number. `2.0` is Swagger. */
export type OpenApiVersion = '2.0' | '3.0' | '3.1' | '3.2'

const versions: readonly OpenApiVersion[] = ['2.0', '3.0', '3.1', '3.2']

/** The version that a document declares, `undefined` where it is none of OpenAPI that is known. */
export function versionOf(document: JsonObject): OpenApiVersion | undefined {
  const declared = document['openapi'] ?? document['swagger']
  if (typeof declared !== 'string') return undefined
  return versions.find((version) => declared === version || declared.startsWith(`${version}.`))
}
