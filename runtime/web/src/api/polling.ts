/** Keeps the data of a page current while the tab is visible and in use. */
import { computed, onScopeDispose, reactive, ref, shallowReactive } from 'vue'
import type { Refreshable } from './query'
import { session } from '../identity/session'

/**
 * Requests extend the idle timeout of the session, so the refreshes stop after this time without input. Otherwise the session of an
 * unattended tab would never expire.
 */
const PAUSE_AFTER_MS = 300_000
/** Interval at which the page looks for queries whose data is due. */
export const TICK_MS = 5000
const INPUTS = ['pointerdown', 'keydown'] as const

export interface Polling {
  /** The number of queries on the page. */
  count: number
  /** Time at which the oldest data of the page was loaded; undefined until data is loaded. */
  updatedAt: number | undefined
  state: 'current' | 'paused' | 'outdated'
  refresh: () => Promise<void>
}

/** The queries of the page. */
const queries = shallowReactive(new Set<Refreshable>())

/** Refreshes the data of a query until its component is removed. */
export function keepCurrent(query: Refreshable): void {
  queries.add(query)
  onScopeDispose(() => queries.delete(query))
}

/** Refreshes the queries of the page, each at its interval. */
export function usePolling(): Polling {
  const isActive = (): boolean => !document.hidden && session.status === 'signed-in'
  const paused = ref(false)
  const updatedAt = computed(() => {
    const times = [...queries].flatMap(({ loadedAt }) => loadedAt ?? [])
    return times.length ? Math.min(...times) : undefined
  })
  const state = computed(() => (paused.value ? 'paused' : [...queries].some(({ outdated }) => outdated) ? 'outdated' : 'current'))
  let lastInput = Date.now()
  let inProgress = 0

  /** Refreshes by the timer wait for each other. A person waits for none: new requests replace those that are in progress. */
  async function refresh(all = true): Promise<void> {
    paused.value = false
    if (all || !inProgress) {
      inProgress += 1
      const due = [...queries].filter((query) => all || query.isDue())
      await Promise.all(due.map((query) => query.refresh())).finally(() => (inProgress -= 1))
    }
  }

  function tick(): void {
    if (isActive()) {
      if (Date.now() - lastInput >= PAUSE_AFTER_MS) {
        paused.value = true
      } else {
        void refresh(false)
      }
    }
  }

  function onInput(): void {
    lastInput = Date.now()
    if (paused.value && isActive()) {
      void refresh()
    }
  }

  function onVisibilityChange(): void {
    if (!document.hidden) {
      lastInput = Date.now()
      tick()
    }
  }

  const timer = setInterval(tick, TICK_MS)
  INPUTS.forEach((name) => document.addEventListener(name, onInput, { passive: true }))
  document.addEventListener('visibilitychange', onVisibilityChange)
  onScopeDispose(() => {
    clearInterval(timer)
    INPUTS.forEach((name) => document.removeEventListener(name, onInput))
    document.removeEventListener('visibilitychange', onVisibilityChange)
  })
  return reactive({ count: computed(() => queries.size), updatedAt, state, refresh: () => refresh() })
}
