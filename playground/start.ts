/** `npm run playground`: starts it, prints its address, and stops all of it on Ctrl-C. `PORT` asks for another port. */
import { startPlayground } from './front/front.ts'

const portDefault = 5199

const given = process.env['PORT']
const playground = await startPlayground({ port: given === undefined ? portDefault : Number(given) }).catch(
  async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EADDRINUSE' || given !== undefined) throw error
    return await startPlayground({ port: 0 })
  },
)
process.stdout.write(`\n  The playground of Retrysafe: ${playground.origin}\n  Ctrl-C stops it.\n\n`)

let stopping: Promise<void> | undefined
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    stopping ??= playground.close().then(() => process.exit(0))
  })
}
