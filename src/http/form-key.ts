/** The idempotency key in a form: a hidden field that every sending of one rendered form repeats. */

/** Name of the hidden field, where no option names another. */
export const keyFieldName = 'idempotency-key'

/** Attributes of a hidden input. */
export interface KeyField {
  readonly type: 'hidden'
  readonly name: string
  readonly value: string
}

/**
 * The attributes of a hidden field with a new key, for a form that is rendered for each visit. A double click, a
 * reload of the answer and the back button then send the same key; a form that is rendered anew sends another.
 *
 * A page that is rendered once, at build, would hand one key to everybody: render it for each request.
 *
 * @param name name of the field. Default `'idempotency-key'`
 * @param key the key. Default: a random UUID
 * @example
 * <form action={pay}><input {...idempotencyKeyField()} /></form>
 */
export function idempotencyKeyField(
  name: string = keyFieldName,
  key: string = crypto.randomUUID(),
): KeyField {
  return { type: 'hidden', name, value: key }
}
