/** Refreshes the data of a page at an interval while the tab is visible and in use. */
import { computed, onScopeDispose, reactive, ref } from 'vue'
import type { Query } from './query'

/**
 * Requests extend the idle timeout of the session, so the refreshes stop after this time without input. Otherwise the session of an
 * unattended tab would never expire.
 */
const PAUSE_AFTER_MS = 300_000
const INPUTS = ['pointerdown', 'keydown'] as const

export interface Live {
  /** Time at which the oldest data of the page was loaded; undefined until data is loaded. */
  updatedAt: number | undefined
  state: 'live' | 'paused' | 'outdated'
  refresh: () => Promise<void>
}

/** Refreshes `queries` every `intervalMs`. `active`: returns false while the data cannot change, as on pages of older events. */
export function useLive(queries: Query<unknown>[], intervalMs: number, active: () => boolean = () => true): Live {
  const paused = ref(false)
  const updatedAt = computed(() => {
    const times = queries.flatMap(({ loadedAt }) => loadedAt ?? [])
    return times.length ? Math.min(...times) : undefined
  })
  const state = computed(() => (paused.value ? 'paused' : queries.some(({ outdated }) => outdated) ? 'outdated' : 'live'))
  let lastInput = Date.now()
  let busy = false

  async function refresh(): Promise<void> {
    paused.value = false
    if (!busy) {
      busy = true
      await Promise.all(queries.map((query) => query.refresh())).finally(() => (busy = false))
    }
  }

  function tick(): void {
    if (document.hidden || !active()) {
      return
    }
    if (Date.now() - lastInput >= PAUSE_AFTER_MS) {
      paused.value = true
    } else {
      void refresh()
    }
  }

  function onInput(): void {
    lastInput = Date.now()
    if (paused.value) {
      void refresh()
    }
  }

  function onVisibilityChange(): void {
    if (!document.hidden) {
      onInput()
      tick()
    }
  }

  const timer = setInterval(tick, intervalMs)
  INPUTS.forEach((name) => document.addEventListener(name, onInput, { passive: true }))
  document.addEventListener('visibilitychange', onVisibilityChange)
  onScopeDispose(() => {
    clearInterval(timer)
    INPUTS.forEach((name) => document.removeEventListener(name, onInput))
    document.removeEventListener('visibilitychange', onVisibilityChange)
  })
  return reactive({ updatedAt, state, refresh })
}
