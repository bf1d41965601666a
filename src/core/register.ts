/** Types that an application declares once. */

/**
 * Merge the type of your transactions into it, and `req.idempotency.tx` has that type in Express and Fastify.
 *
 * @example
 * declare module 'retrysafe' {
 *   interface Register { transaction: pg.PoolClient }
 * }
 */
// biome-ignore lint/suspicious/noEmptyInterface: its members are the application's
export interface Register {}
