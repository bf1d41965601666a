import { index, type RouteConfig, route } from '@react-router/dev/routes'

export default [index('routes/home.tsx'), route('charges', 'routes/charges.ts')] satisfies RouteConfig
