/** The simulator: whole runs of the engine in virtual time, from a seed. */
export { explore, type Exploration, type ExploreOptions } from './explore.ts'
export { type SimMode, type SimModeName, simModeNames, simModes } from './modes.ts'
export { shrink, type Shrunk } from './shrink.ts'
export { simulate, type SimulatedRun, type SimulateOptions } from './simulate.ts'
export { type Walk, walk, type WalkOptions } from './walk.ts'
