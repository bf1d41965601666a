/** Where the keys of unfinished calls are kept, so that a reload, another tab or a new process sends the same one. */
export {
  type Found,
  isSameRequest,
  KeeperError,
  type KeeperFailure,
  type KeeperOptions,
  type Kept,
  type KeptCall,
  type KeyKeeper,
} from './keeper.ts'
export { fallbackKeeper, type FallbackKeeperOptions } from './fallback.ts'
export { indexedDbKeeper, type IndexedDbKeeperOptions } from './indexed-db.ts'
export { memoryKeeper } from './memory.ts'
export { localStorageKeeper, sessionStorageKeeper, type WebStorageKeeperOptions } from './web-storage.ts'
export {
  forgetKept,
  keptFetch,
  type KeptCallOptions,
  type KeptFetch,
  type KeptFetchOptions,
  type KeptInit,
  type Resumed,
  resumeKept,
  type ResumeOptions,
} from '../intent.ts'
