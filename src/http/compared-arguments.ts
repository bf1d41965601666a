/** Arguments of a call as plain data that can be compared: forms by their fields, files by their content. */
import type { Digest } from '../core/bytes.ts'

/**
 * What the names of React's own fields begin with, in a form that a server has rendered: which action it is for, and
 * with what it is bound. React takes them out of a form that the browser sends by itself, leaves them in one that the
 * page sends, and renders none in the browser; the same form may be sent in all three ways.
 */
const reactPrefix = '$ACTION_'

/** The form among arguments, where there is one. */
export function formOf(args: readonly unknown[]): FormData | undefined {
  return args.findLast((arg) => arg instanceof FormData)
}

/** What of the arguments is compared. `keyField` names a field that is left out of a form, as React's own are. */
export function comparedArguments(
  digest: Digest,
  args: readonly unknown[],
  keyField: string | undefined,
): Promise<unknown[]> {
  return Promise.all(args.map((arg) => comparedArgument(digest, arg, keyField)))
}

async function comparedArgument(
  digest: Digest,
  arg: unknown,
  keyField: string | undefined,
): Promise<unknown> {
  if (arg instanceof FormData) {
    const fields = Array.from(arg.entries()).filter(
      ([name]) => name !== keyField && !name.startsWith(reactPrefix),
    )
    return {
      form: await Promise.all(fields.map(async ([name, value]) => [name, await comparedBlob(digest, value)])),
    }
  }
  return await comparedBlob(digest, arg)
}

async function comparedBlob(digest: Digest, value: unknown): Promise<unknown> {
  if (!(value instanceof Blob)) return value
  const content = digest(new Uint8Array(await value.arrayBuffer()))
  return { file: value instanceof File ? value.name : null, type: value.type, content }
}
