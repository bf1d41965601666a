/** A client for the emulator, which takes any region and any credentials. */
import { DynamoDB, type DynamoDBClientConfig } from '@aws-sdk/client-dynamodb'

export const credentials = { accessKeyId: 'AKIACANARY', secretAccessKey: 'CANARY-secret' }

export function clientOf(endpoint: string, config: DynamoDBClientConfig = {}): DynamoDB {
  return new DynamoDB({ region: 'eu-central-1', endpoint, credentials, ...config })
}
