/** Proof for stores: the conformance suite that every store passes on its real server, and a proxy that breaks connections. */
export {
  type BusinessWrites,
  type OwnTransaction,
  type StoreConformanceOptions,
  type StoreUnderTest,
  storeCaseNames,
  storeConformance,
  type TestFunction,
} from './store-conformance.ts'
export {
  type FaultCounts,
  type FaultProxy,
  type FaultProxyOptions,
  startFaultProxy,
} from './fault-proxy.ts'
export {
  runServiceChaos,
  type ServiceChaosOptions,
  type ServiceChaosProgress,
} from './service-chaos/index.ts'
