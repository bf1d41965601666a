/** The simulator: whole runs of the engine in virtual time, from a seed. */
export { explore, type Exploration, type ExploreOptions } from './explore.ts'
export { type SimModeName, simModeNames, simModes } from './modes.ts'
export { shrink } from './shrink.ts'
export { simulate, type SimulatedRun, type SimulateOptions } from './simulate.ts'
export type { SimTier, SimTierTools } from './tier.ts'
export { walk } from './walk.ts'
