/** Pages of the UI: the screen of each route. */
import { createRouter, createWebHistory, type RouteRecordRaw } from 'vue-router'
import type { Component } from 'vue'
import type { OperationId } from './api/client'
import { routes, type RouteName } from './routes'
import { mayLeave } from './forms/feedback'
import SignIn from './identity/SignInScreen.vue'

declare module 'vue-router' {
  interface RouteMeta {
    operations: readonly OperationId[]
  }
}

const SCREENS: Record<RouteName, Component | (() => Promise<Component>)> = {
  overview: () => import('./operations/OverviewScreen.vue'),
  'sign-in': SignIn,
  keys: () => import('./keys/KeyListScreen.vue'),
  'key-new': () => import('./keys/KeyCreateScreen.vue'),
  key: () => import('./keys/KeyScreen.vue'),
  customers: () => import('./customers/CustomerListScreen.vue'),
  'customer-new': () => import('./customers/CustomerCreateScreen.vue'),
  customer: () => import('./customers/CustomerScreen.vue'),
  limits: () => import('./limits/LimitListScreen.vue'),
  'limit-new': () => import('./limits/LimitCreateScreen.vue'),
  limit: () => import('./limits/LimitScreen.vue'),
  plans: () => import('./customers/PlanListScreen.vue'),
  'plan-new': () => import('./customers/PlanCreateScreen.vue'),
  plan: () => import('./customers/PlanScreen.vue'),
  secrets: () => import('./secrets/SecretListScreen.vue'),
  'secret-new': () => import('./secrets/SecretCreateScreen.vue'),
  secret: () => import('./secrets/SecretScreen.vue'),
  'request-new': () => import('./secrets/RequestCreateScreen.vue'),
  audit: () => import('./audit/AuditScreen.vue'),
  cores: () => import('./cores/CoreListScreen.vue'),
  usage: () => import('./usage/UsageScreen.vue'),
  requests: () => import('./usage/RequestScreen.vue'),
  health: () => import('./operations/HealthScreen.vue'),
  logs: () => import('./operations/LogScreen.vue'),
  webhooks: () => import('./notifications/WebhookScreen.vue'),
  people: () => import('./identity/PeopleScreen.vue'),
  sessions: () => import('./identity/SessionScreen.vue'),
  settings: () => import('./operations/SettingsScreen.vue'),
}

export const router = createRouter({
  history: createWebHistory(),
  routes: routes.map(({ name, path, operations }) => ({ name, path, component: SCREENS[name], meta: { operations } })) as RouteRecordRaw[],
  // Filters and details of a page keep its position.
  scrollBehavior: (to, from, saved) => saved ?? (to.path !== from.path || to.query['cursor'] !== from.query['cursor'] ? { top: 0 } : false),
})

// Filters and details of a page do not leave it. A sign-in ends with another page.
router.beforeEach((to, from) => to.path === from.path || from.name === 'sign-in' || mayLeave())
