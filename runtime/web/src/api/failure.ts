/**
 * Errors that are not responses of the API: a page that cannot be loaded, and defects. Forms, lists and boundaries show their own
 * errors. App.vue shows the last of all others.
 */
import { shallowRef, type App } from 'vue'
import type { Router } from 'vue-router'
import { ApiError } from './client'

export interface Failure {
  error: ApiError
  retry: () => void
}

export const failure = shallowRef<Failure>()

/** Errors of files of the console that were not loaded: the connection was lost, or a new version was installed. */
const notLoaded = new WeakSet<object>()

/**
 * Returns the problem to show for any error. `detail` of an unexpected error is its type and the place in the code, which a report
 * needs. The message of the error can contain values, so only the developer console of the browser contains it.
 */
export function problemOf(error: unknown): ApiError {
  if (error instanceof ApiError) {
    return error
  }
  if (error instanceof Error && notLoaded.has(error)) {
    return new ApiError(0, 'page', '', [], '')
  }
  console.error(error)
  const { name, stack = '' } = error instanceof Error ? error : new Error()
  const place = /[\w.-]+\.js:\d+:\d+/.exec(stack)?.[0]
  return new ApiError(0, 'unexpected', [name, place, location.pathname].filter(Boolean).join(' · '), [], '')
}

/** Shows an error. `retry`: repeats what failed. */
export function report(error: unknown, retry = (): void => location.reload()): void {
  failure.value = { error: problemOf(error), retry }
}

/** Shows all errors that nothing else handles. */
export function reportErrors(app: App, router: Router): void {
  app.config.errorHandler = (error) => report(error)
  router.onError((error, to) => report(error, () => location.assign(to.fullPath)))
  router.afterEach((_to, _from, navigationFailure) => {
    if (!navigationFailure) {
      failure.value = undefined
    }
  })
  addEventListener('vite:preloadError', ({ payload }) => notLoaded.add(payload))
  addEventListener('unhandledrejection', (event) => {
    event.preventDefault()
    report(event.reason)
  })
  // Events without an error are not caused by the console, such as those of browser extensions.
  addEventListener('error', (event) => event.error && report(event.error))
}
