/** Who sends a request, by the user's resolver. */
import type { IdempotentOptions } from './options.ts'

export type ResolvedPrincipal =
  | { readonly kind: 'principal'; readonly principal: unknown }
  | { readonly kind: 'failed'; readonly error: unknown }

/** Asks the resolver; what it throws is its own fault, never the client's, and never a shared scope. */
export async function resolvePrincipal<Subject>(
  principal: IdempotentOptions<Subject>['principal'],
  subject: Subject,
): Promise<ResolvedPrincipal> {
  if (principal === 'anonymous') return { kind: 'principal', principal }
  try {
    return { kind: 'principal', principal: await principal(subject) }
  } catch (error) {
    return { kind: 'failed', error }
  }
}
