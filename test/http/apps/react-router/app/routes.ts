import { index, type RouteConfig, route } from '@react-router/dev/routes'

export default [
  index('home.tsx'),
  route('form/:kind', 'form.tsx'),
  route('routes/:kind', 'resource.ts'),
  route('bare/:kind', 'bare.ts'),
  route('plain/:shape', 'plain.ts'),
  route('keyed/:shape', 'keyed.ts'),
  route('zipped/:shape', 'zipped.ts'),
  route('runs', 'runs.ts'),
  route('open-gate', 'open-gate.ts'),
] satisfies RouteConfig
