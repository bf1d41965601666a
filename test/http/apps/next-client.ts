/** Calls server actions as Next's own client does: arguments and results in React's format. */
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

interface ReactClient {
  encodeReply(args: readonly unknown[]): Promise<string | FormData>
  createFromReadableStream(stream: ReadableStream, options: unknown): Promise<{ a: unknown }>
}

const react = createRequire(import.meta.url)(
  'next/dist/compiled/react-server-dom-turbopack/client.node.js',
) as ReactClient

const manifestFile = join(
  import.meta.dirname,
  'next/.next/server/app/actions/page/server-reference-manifest.json',
)

interface Manifest {
  readonly node: Readonly<Record<string, { readonly exportedName: string }>>
}

function actionIdOf(name: string): string {
  const { node } = JSON.parse(readFileSync(manifestFile, 'utf8')) as Manifest
  const [id] = Object.entries(node).find(([, { exportedName }]) => exportedName === name) ?? []
  if (id === undefined) throw new Error(`The app has no action ${name}.`)
  return id
}

export type ActionEnded =
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'redirect'; readonly to: string }
  | { readonly kind: 'failed'; readonly status: number; readonly digest: string | undefined }

/** Calls an action of `app/actions` as a program in a page does. */
export async function callAction(
  origin: string,
  name: string,
  ...args: readonly unknown[]
): Promise<ActionEnded> {
  const response = await fetch(`${origin}/actions`, {
    method: 'POST',
    headers: { 'next-action': actionIdOf(name), accept: 'text/x-component' },
    body: await react.encodeReply(args),
    redirect: 'manual',
  })
  const redirect = response.headers.get('x-action-redirect')
  if (redirect !== null) {
    await response.arrayBuffer()
    return { kind: 'redirect', to: redirect }
  }
  try {
    const stream = response.body as ReadableStream
    const { a } = await react.createFromReadableStream(stream, {
      serverConsumerManifest: { moduleMap: {}, serverModuleMap: {}, moduleLoading: null },
    })
    return { kind: 'value', value: await a }
  } catch (error) {
    return { kind: 'failed', status: response.status, digest: (error as { digest?: string }).digest }
  }
}
