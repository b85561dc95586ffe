/** Loads data for screens. */
import { onScopeDispose, shallowReactive, watch, type WatchSource } from 'vue'
import type { ApiError } from './client'
import { problemOf } from './failure'
import { keepCurrent, TICK_MS } from './polling'
import { inProgress, sent, submittedForm } from '../forms/feedback'

/** The part of a query that does not depend on the type of its data. */
export interface Refreshable {
  /** Time at which the data was loaded. */
  loadedAt: number | undefined
  /** True if the last refresh failed. */
  outdated: boolean
  /** The data is older than its interval. */
  isDue: () => boolean
  /** Loads newer data in the background. If the request fails, the previous data remains and is marked as outdated. */
  refresh: () => Promise<void>
}

export interface Query<Data> extends Refreshable {
  /** The most recently loaded data, which remains available while newer data is loaded. */
  data: Data | undefined
  error: ApiError | undefined
  loading: boolean
  reload: () => Promise<void>
}

/** The data of another `source` disappears after this time, if the new data has not arrived. */
const STALE_MS = 150

/**
 * Loads data immediately and whenever `source` changes, and refreshes it every `everyMs`, unless that is 0. Cancels the previous request.
 */
export function useQuery<Data>(load: (signal: AbortSignal) => Promise<Data>, source?: WatchSource, everyMs: number | (() => number) = 15_000): Query<Data> {
  const interval = typeof everyMs === 'number' ? () => everyMs : everyMs
  let controller = new AbortController()
  const query: Query<Data> = shallowReactive<Query<Data>>({
    data: undefined,
    error: undefined,
    loading: false,
    loadedAt: undefined,
    outdated: false,
    isDue: (): boolean => interval() > 0 && Date.now() - (query.loadedAt ?? 0) > interval() - TICK_MS,
    reload,
    refresh,
  })

  async function reload(): Promise<void> {
    query.loading = true
    query.error = undefined
    await run((error) => (query.error = error))
  }

  async function refresh(): Promise<void> {
    // A denied request would be denied again, and each denial is recorded in the audit trail.
    const denied = query.error && query.error.status >= 400 && query.error.status < 500
    if (!query.loading && !denied) {
      await run((error) => {
        query.outdated = true
        query.error = query.data === undefined ? error : query.error
      })
    }
  }

  async function run(fail: (error: ApiError) => void): Promise<void> {
    controller.abort()
    const own = (controller = new AbortController())
    try {
      const data = await load(own.signal)
      if (own === controller) {
        query.data = data
        query.error = undefined
        query.loadedAt = Date.now()
        query.outdated = false
      }
    } catch (error) {
      if (own === controller && !own.signal.aborted) {
        fail(problemOf(error))
      }
    } finally {
      if (own === controller) {
        query.loading = false
      }
    }
  }

  if (source) {
    watch(source, () => {
      const loading = reload()
      const timer = setTimeout(() => (query.data = undefined), STALE_MS)
      void loading.finally(() => clearTimeout(timer))
    })
  }
  onScopeDispose(() => controller.abort())
  if (everyMs !== 0) {
    keepCurrent(query)
  }
  void reload()
  return query
}

export interface Action<Arguments extends unknown[]> {
  busy: boolean
  error: ApiError | undefined
  run: (...values: Arguments) => Promise<void>
}

/** An action of a button or form. The action cannot start again while it is running. */
export function useAction<Arguments extends unknown[]>(perform: (...values: Arguments) => Promise<void>): Action<Arguments> {
  const action = shallowReactive<Action<Arguments>>({ busy: false, error: undefined, run })
  const self = Symbol('action')

  async function run(...values: Arguments): Promise<void> {
    if (action.busy) {
      return
    }
    const form = submittedForm()
    action.busy = true
    inProgress.add(self)
    action.error = undefined
    try {
      await perform(...values)
      sent(form)
    } catch (error) {
      action.error = problemOf(error)
    } finally {
      action.busy = false
      inProgress.delete(self)
    }
  }

  return action
}
