/** Proof for stores: the conformance suite that every store passes on its real server. */
export {
  type BusinessWrites,
  type OwnTransaction,
  type StoreConformanceOptions,
  type StoreUnderTest,
  storeCaseNames,
  storeConformance,
  type TestFunction,
} from './store-conformance.ts'
