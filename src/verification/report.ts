/** What a checked run shows, for people: a table for a terminal, and a page with the stories of keys. */
export { htmlReport } from './report/page.ts'
export { summaryTable } from './report/summary.ts'
