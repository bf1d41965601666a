import { clientAdapters } from './adapters.ts'
import { clientAdapterSuite } from './suite.ts'

for (const adapter of clientAdapters) clientAdapterSuite(adapter)
