/** Loads data for screens. */
import { onScopeDispose, shallowReactive, watch, type WatchSource } from 'vue'
import { ApiError } from './api/client'

export interface Query<Data> {
  /** The most recently loaded data, which remains available while newer data is loaded. */
  data: Data | undefined
  error: ApiError | undefined
  loading: boolean
  reload: () => Promise<void>
}

/** Loads data immediately and whenever `source` changes. Cancels the previous request. */
export function useQuery<Data>(load: (signal: AbortSignal) => Promise<Data>, source?: WatchSource): Query<Data> {
  let controller = new AbortController()
  const query = shallowReactive<Query<Data>>({ data: undefined, error: undefined, loading: false, reload })

  async function reload(): Promise<void> {
    controller.abort()
    const own = (controller = new AbortController())
    query.loading = true
    query.error = undefined
    try {
      const data = await load(own.signal)
      if (own === controller) {
        query.data = data
      }
    } catch (error) {
      if (own === controller && error instanceof ApiError) {
        query.error = error
      } else if (!own.signal.aborted) {
        throw error
      }
    } finally {
      if (own === controller) {
        query.loading = false
      }
    }
  }

  if (source) {
    watch(source, reload)
  }
  onScopeDispose(() => controller.abort())
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

  async function run(...values: Arguments): Promise<void> {
    if (action.busy) {
      return
    }
    action.busy = true
    action.error = undefined
    try {
      await perform(...values)
    } catch (error) {
      if (!(error instanceof ApiError)) {
        throw error
      }
      action.error = error
    } finally {
      action.busy = false
    }
  }

  return action
}
