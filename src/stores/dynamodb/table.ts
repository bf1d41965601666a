/**
 * The table: its key, and the attribute by which the server deletes what is long past. Items carry their own
 * version, so the table has two steps only: it is there, and it deletes.
 */
import { SchemaMismatchError, StoreError } from '../../core/errors.ts'
import { bounded, type TableDescription } from './client.ts'
import { asStoreError, isDenied, isMissingTable, isTableInUse } from './errors.ts'
import { keyAttribute, timeToLiveAttribute } from './items.ts'
import { pause, type Table } from './verbs.ts'

/** 0: no table; 1: the table; 2: with its time to live. */
export const tableVersion = 2

const command = 'Run `npx retrysafe migrate`, or `await dynamodbMigrations({ client }).apply()`'
const keyWords = `a partition key \`${keyAttribute}\` of type S and no sort key`

/** A new table is ready in seconds. */
const attemptsMax = 60
const attemptMs = 1_000

/**
 * How far the table is.
 *
 * @throws SchemaMismatchError when a table of that name is none of ours
 * @throws StoreError
 */
export async function readVersion(table: Table): Promise<number> {
  const description = await describe(table)
  if (description === undefined) return 0
  checkKey(table, description)
  return (await hasTimeToLive(table)) ? 2 : 1
}

/** Fails as every verb would: once, at the start, and with what to do. @throws SchemaMismatchError, StoreError */
export async function checkTable(table: Table): Promise<void> {
  const version = await readVersion(table)
  if (version === tableVersion) return
  throw new SchemaMismatchError(
    version === 0
      ? `The table ${table.name} is missing in this region and account. ${command}.`
      : `The table ${table.name} has no time to live on \`${timeToLiveAttribute}\`, so that nothing would ever be deleted. ${command}.`,
  )
}

/** What is missing, in words: a line for each step. */
export function missingSteps({ name }: Table, version: number): string {
  const steps = [
    `Create the table ${name}: ${keyWords}, billed per request (PAY_PER_REQUEST).`,
    `Enable time to live on the attribute \`${timeToLiveAttribute}\` of ${name}.`,
  ]
  return steps.slice(version).join('\n')
}

/** Makes what is missing; two processes that do so at once do no harm. @throws SchemaMismatchError, StoreError */
export async function makeTable(table: Table): Promise<void> {
  const version = await readVersion(table)
  if (version === 0) await create(table)
  if (version < tableVersion) await enableTimeToLive(table)
}

async function create(table: Table): Promise<void> {
  const { client, name } = table
  try {
    await client.createTable(
      {
        TableName: name,
        KeySchema: [{ AttributeName: keyAttribute, KeyType: 'HASH' }],
        AttributeDefinitions: [{ AttributeName: keyAttribute, AttributeType: 'S' }],
        BillingMode: 'PAY_PER_REQUEST',
      },
      bounded(),
    )
  } catch (error) {
    if (!isTableInUse(error)) throw mayNot(error, table)
  }
  for (let attempt = 1; ; attempt++) {
    const description = await describe(table)
    if (description?.TableStatus === 'ACTIVE') return checkKey(table, description)
    if (attempt === attemptsMax) throw new StoreError('transient', `The table ${name} is still being made.`)
    await pause(attemptMs)
  }
}

async function enableTimeToLive(table: Table): Promise<void> {
  const { client, name } = table
  if (await hasTimeToLive(table)) return
  const specification = { Enabled: true, AttributeName: timeToLiveAttribute } as const
  try {
    await client.updateTimeToLive({ TableName: name, TimeToLiveSpecification: specification }, bounded())
  } catch (error) {
    // Another process may have been first, and the server refuses what is so already.
    if (!(await hasTimeToLive(table))) throw mayNot(error, table)
  }
}

async function describe(table: Table): Promise<TableDescription | undefined> {
  try {
    return (await table.client.describeTable({ TableName: table.name }, bounded())).Table
  } catch (error) {
    if (isMissingTable(error)) return undefined
    throw mayNot(error, table)
  }
}

async function hasTimeToLive(table: Table): Promise<boolean> {
  const { client, name } = table
  const answer = await client.describeTimeToLive({ TableName: name }, bounded()).catch((error: unknown) => {
    throw mayNot(error, table)
  })
  const { TimeToLiveStatus: status, AttributeName: attribute } = answer.TimeToLiveDescription ?? {}
  if (status !== 'ENABLED' && status !== 'ENABLING') return false
  if (attribute === timeToLiveAttribute) return true
  throw new SchemaMismatchError(
    `The table ${name} has its time to live on another attribute than \`${timeToLiveAttribute}\`. Use another table.`,
  )
}

function checkKey({ name }: Table, { KeySchema: key, AttributeDefinitions: types }: TableDescription): void {
  const isOurs =
    key?.length === 1 &&
    key[0]?.AttributeName === keyAttribute &&
    types?.some((type) => type.AttributeName === keyAttribute && type.AttributeType === 'S') === true
  if (isOurs) return
  throw new SchemaMismatchError(`The table ${name} must have ${keyWords}. Use another table.`)
}

const rights = [
  'dynamodb:DescribeTable',
  'dynamodb:DescribeTimeToLive',
  'dynamodb:GetItem',
  'dynamodb:BatchGetItem',
  'dynamodb:PutItem',
  'dynamodb:UpdateItem',
  'dynamodb:DeleteItem',
  'dynamodb:Scan',
]

function mayNot(error: unknown, { name }: Table): Error {
  const failure = asStoreError(error)
  if (!isDenied(error)) return failure
  return new SchemaMismatchError(
    `The user may not look at, use or make the table ${name}. Allow ${rights.join(', ')} on it, and to make it dynamodb:CreateTable and dynamodb:UpdateTimeToLive.`,
    { cause: failure },
  )
}
