/** Keeps the data of a page current while the tab is visible and in use. */
import { computed, onScopeDispose, reactive, ref } from 'vue'
import type { Refreshable } from './query'
import { session } from '../identity/session'

/**
 * Requests extend the idle timeout of the session, so the refreshes stop after this time without input. Otherwise the session of an
 * unattended tab would never expire.
 */
const PAUSE_AFTER_MS = 300_000
const INPUTS = ['pointerdown', 'keydown'] as const

export interface Polling {
  /** Time at which the oldest data of the page was loaded; undefined until data is loaded. */
  updatedAt: number | undefined
  state: 'current' | 'paused' | 'outdated'
  refresh: () => Promise<void>
}

/** Refreshes `queries` every `intervalMs`. `active` returns false while the data cannot change, as on pages of older events. */
export function usePolling(queries: Refreshable[], intervalMs: number, active: () => boolean = () => true): Polling {
  const isActive = (): boolean => !document.hidden && session.status === 'signed-in' && active()
  const paused = ref(false)
  const updatedAt = computed(() => {
    const times = queries.flatMap(({ loadedAt }) => loadedAt ?? [])
    return times.length ? Math.min(...times) : undefined
  })
  const state = computed(() => (paused.value ? 'paused' : queries.some(({ outdated }) => outdated) ? 'outdated' : 'current'))
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
    if (isActive()) {
      if (Date.now() - lastInput >= PAUSE_AFTER_MS) {
        paused.value = true
      } else {
        void refresh()
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
