import { reactRouter } from '@react-router/dev/vite'
import { defineConfig } from 'vite'

export default defineConfig({
  plugins: [reactRouter()],
  // Only for this clone: `retrysafe` is the sources beside it (see `paths` in tsconfig.json).
  resolve: { tsconfigPaths: true },
})
