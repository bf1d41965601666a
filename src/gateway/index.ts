/** The gateway as a library: what `retrysafe gateway` runs. */
export {
  type GatewayConfig,
  type GatewayPrincipal,
  type GatewayRoute,
  type ParsedGatewayConfig,
  parseGatewayConfig,
  type RouteOptions,
  type StoreAddress,
} from './config.ts'
export { createGateway, type Gateway, type GatewayParts } from './gateway.ts'
export type { GatewayEvent, GatewayLog } from './log.ts'
