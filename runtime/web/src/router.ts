/** Pages of the UI. The console serves only the paths in routes.json. */
import { createRouter, createWebHistory, type RouteRecordRaw } from 'vue-router'
import type { Component } from 'vue'
import type { OperationId } from './api/client'
import routes from './routes.json'
import { mayLeave } from './feedback'
import Overview from './screens/OverviewScreen.vue'
import SignIn from './screens/SignInScreen.vue'

declare module 'vue-router' {
  interface RouteMeta {
    /** The page is available to sessions that may call one of these operations. If empty, the page is available to all sessions. */
    operations: OperationId[]
  }
}

const SCREENS: Record<string, Component | (() => Promise<Component>)> = {
  overview: Overview,
  'sign-in': SignIn,
  keys: () => import('./screens/KeyListScreen.vue'),
  'key-new': () => import('./screens/KeyCreateScreen.vue'),
  key: () => import('./screens/KeyScreen.vue'),
  secrets: () => import('./screens/SecretListScreen.vue'),
  'secret-new': () => import('./screens/SecretCreateScreen.vue'),
  secret: () => import('./screens/SecretScreen.vue'),
  'request-new': () => import('./screens/RequestCreateScreen.vue'),
  audit: () => import('./screens/AuditScreen.vue'),
  cores: () => import('./screens/CoreListScreen.vue'),
  usage: () => import('./screens/UsageScreen.vue'),
  denials: () => import('./screens/DenialScreen.vue'),
  logs: () => import('./screens/LogScreen.vue'),
  webhooks: () => import('./screens/WebhookScreen.vue'),
  people: () => import('./screens/PeopleScreen.vue'),
  sessions: () => import('./screens/SessionScreen.vue'),
  settings: () => import('./screens/SettingsScreen.vue'),
}

export const router = createRouter({
  history: createWebHistory(),
  routes: routes
    .filter((route) => route.name in SCREENS)
    .map((route) => ({
      name: route.name,
      path: route.path,
      component: SCREENS[route.name],
      meta: { operations: route.operations as OperationId[] },
    })) as RouteRecordRaw[],
  // Filters and details of a page keep its position.
  scrollBehavior: (to, from, saved) => saved ?? (to.path !== from.path || to.query['cursor'] !== from.query['cursor'] ? { top: 0 } : false),
})

// Filters and details of a page do not leave it. A sign-in ends with another page.
router.beforeEach((to, from) => to.path === from.path || from.name === 'sign-in' || mayLeave())
