/** Paths of the pages, from which the build writes routes.json: the console serves only these. */
import type { OperationId } from './api/client'

/** operations: the page is available to sessions that may call one of them. If empty, to all sessions. */
export const routes = [
  { name: 'overview', path: '/', operations: [] },
  { name: 'sign-in', path: '/sign-in', operations: [] },
  { name: 'keys', path: '/keys', operations: ['list_keys'] },
  { name: 'key-new', path: '/keys/new', operations: ['create_key'] },
  { name: 'key', path: '/keys/:id', operations: ['show_key'] },
  { name: 'customers', path: '/customers', operations: ['list_customers'] },
  // A customer can have the ID "new", and a plan this name.
  { name: 'customer-new', path: '/new-customer', operations: ['create_customer'] },
  { name: 'customer', path: '/customers/:id', operations: ['show_customer'] },
  { name: 'plans', path: '/plans', operations: ['list_plans'] },
  { name: 'plan-new', path: '/new-plan', operations: ['create_plan'] },
  { name: 'plan', path: '/plans/:name', operations: ['show_plan'] },
  { name: 'limits', path: '/limits', operations: ['list_limits'] },
  { name: 'limit-new', path: '/new-limit', operations: ['create_limit'] },
  { name: 'limit', path: '/limits/:name', operations: ['show_limit'] },
  { name: 'secrets', path: '/secrets', operations: ['list_secrets', 'create_secret'] },
  { name: 'secret-new', path: '/secrets/new', operations: ['create_secret'] },
  { name: 'request-new', path: '/secrets/request', operations: ['create_secret_request'] },
  { name: 'secret', path: '/secrets/:id', operations: ['show_secret'] },
  { name: 'audit', path: '/audit', operations: ['list_audit'] },
  { name: 'cores', path: '/cores', operations: ['list_cores'] },
  { name: 'usage', path: '/usage', operations: ['read_usage'] },
  { name: 'requests', path: '/requests', operations: ['list_requests'] },
  { name: 'health', path: '/health', operations: ['show_health'] },
  { name: 'logs', path: '/logs', operations: ['search_logs'] },
  { name: 'webhooks', path: '/webhooks', operations: ['list_webhooks'] },
  { name: 'people', path: '/people', operations: ['show_sign_in_methods'] },
  { name: 'sessions', path: '/sessions', operations: ['list_sessions'] },
  { name: 'settings', path: '/settings', operations: ['show_log_level'] },
] as const satisfies readonly { name: string; path: string; operations: readonly OperationId[] }[]

export type RouteName = (typeof routes)[number]['name']
