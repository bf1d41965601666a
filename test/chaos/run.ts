/**
 * The long run: `npm run chaos -- postgres --seconds 60 --seed 7`, or `mariadb`. Exit code 1 on a violation.
 */
import { parseArgs } from 'node:util'
import { runChaos, summary } from './chaos.ts'

const { values, positionals } = parseArgs({
  options: { seconds: { type: 'string', default: '60' }, seed: { type: 'string' } },
  allowPositionals: true,
})
const [database] = positionals
if (database !== 'postgres' && database !== 'mariadb') {
  console.error('Say which: npm run chaos -- postgres, or mariadb')
  process.exit(2)
}
const seed = values.seed === undefined ? Date.now() % 2 ** 31 : Number(values.seed)
console.log(`seed ${seed}`)
const until = performance.now() + Number(values.seconds) * 1_000
const report = await runChaos({
  dialect: database === 'postgres' ? 'postgres' : 'mysql',
  seed,
  goesOn: () => performance.now() < until,
})
console.log(summary(report))
process.exit(report.violations.length === 0 ? 0 : 1)
