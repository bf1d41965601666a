/** The table of mutants: `npm run mutants`, or some of them by number: `npm run mutants -- 3 21`. */
import { mutants, notYet } from './mutants.ts'
import { tryMutant } from './plant.ts'

const wanted = process.argv.slice(2).map(Number)
let survived = 0
for (const mutant of mutants) {
  if (wanted.length > 0 && !wanted.includes(mutant.number)) continue
  const end = await tryMutant(mutant, process.env)
  const told =
    end.kind === 'survived'
      ? `SURVIVED ${end.says}`
      : `${end.by}${end.first === undefined ? '' : `, seed ${end.first} of ${end.seeds}`}`
  const mode = mutant.caughtBy.kind === 'simulator' ? mutant.caughtBy.mode : 'tests'
  console.log(`${String(mutant.number).padStart(2)}  ${mutant.name.padEnd(66)}  ${mode.padEnd(12)}  ${told}`)
  if (end.kind === 'survived') survived += 1
}
for (const [number, reason] of Object.entries(notYet)) console.log(`${number}  not planted: ${reason}`)
process.exitCode = survived === 0 ? 0 : 1
