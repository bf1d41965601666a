/**
 * Proof: the conformance suite that every store passes on its real server, a checker of what was seen in a run, a
 * proxy that breaks connections, crash points for tests of your own, and the simulator.
 */
export {
  type AppliedOnceOptions,
  expectAppliedOnce,
  type FakeClock,
  fakeClock,
  type OpenedStore,
  type PointEnd,
} from './applied-once.ts'
export { check, type CheckCounts, type CheckReport, storyOf } from './checker.ts'
export {
  type CrashPoint,
  crashPointNames,
  type HandlerPoint,
  type Reach,
  type StorePoint,
  withCrashPoints,
} from './crash-points.ts'
export {
  type EffectPromise,
  type History,
  type HistoryEvent,
  type HistoryHeader,
  historyLines,
  parseHistories,
} from './history.ts'
export type { Invariant, Violation } from './violations.ts'
export type { Sight } from './sights.ts'
export {
  explore,
  type Exploration,
  type ExploreOptions,
  type SimModeName,
  simModeNames,
  simulate,
  type SimulatedRun,
  type SimulateOptions,
  type SimTier,
  type SimTierTools,
} from './simulator/index.ts'
export {
  fidelityCaseNames,
  fidelityContent,
  type FidelityServer,
  type FidelityShape,
  type FidelityShapeName,
  fidelityShapes,
  httpFidelity,
  type HttpFidelityOptions,
  type ShapeEnd,
} from './http-fidelity.ts'
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
export { htmlReport, summaryTable } from './report.ts'
