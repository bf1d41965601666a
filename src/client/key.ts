/** Making keys: random ones for one call, and ones that follow from what is meant for jobs and scripts. */
import { InvalidOptionError } from '../core/errors.ts'

/** A new key: a random UUID (RFC 9562, version 4). */
export function newKey(): string {
  return crypto.randomUUID()
}

/** How a key is written into its field: as a structured-field string (RFC 9651), or as it is. */
export type KeyFormat = 'quoted' | 'bare'

/** The key in a field that the caller wrote, which is sent as it is. @throws InvalidOptionError as `keyField` */
export function writtenKey(field: string): string {
  return keyField(field.replaceAll('"', ''), 'bare')
}

/** The value of the field. @throws InvalidOptionError for a key that not every server can read */
export function keyField(key: string, format: KeyFormat): string {
  if (!/^[!#-+\--:<-[\]-~]{1,255}$/.test(key)) {
    throw new InvalidOptionError('key', 'must be 1 to 255 visible ASCII characters, none of ",;\\')
  }
  return format === 'bare' ? key : `"${key}"`
}
