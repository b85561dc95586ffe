/** Keeps the data of a page current while the tab is visible and in use: with server-sent events, otherwise with requests. */
import { computed, onScopeDispose, reactive, ref } from 'vue'
import { EventStream, type EventHandlers } from './eventStream'
import type { Refreshable } from './query'
import { session } from './session'

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
  /** True while the console sends events. */
  streaming: boolean
  refresh: () => Promise<void>
}

export interface LiveOptions {
  intervalMs: number
  /** Returns false while the data cannot change, as on pages of older events. */
  active?: () => boolean
  /** Receive the events for the queries in `streamed`, which are refreshed only while no stream is open. */
  handlers?: EventHandlers
  streamed?: Refreshable[]
}

/** Refreshes `queries` every `intervalMs`, and the queries in `streamed` while no stream is open. */
export function useLive(queries: Refreshable[], { intervalMs, active = () => true, handlers = {}, streamed = [] }: LiveOptions): Live {
  const isActive = (): boolean => !document.hidden && session.status === 'signed-in' && active()
  const paused = ref(false)
  const stream = new EventStream(handlers, tick)
  const polled = computed(() => (stream.connected.value ? queries : [...queries, ...streamed]))
  const updatedAt = computed(() => {
    const times = polled.value.flatMap(({ loadedAt }) => loadedAt ?? [])
    return times.length ? Math.min(...times) : undefined
  })
  const state = computed(() => (paused.value ? 'paused' : polled.value.some(({ outdated }) => outdated) ? 'outdated' : 'live'))
  let lastInput = Date.now()
  let busy = false

  async function refresh(): Promise<void> {
    paused.value = false
    if (!busy) {
      busy = true
      await Promise.all(polled.value.map((query) => query.refresh())).finally(() => (busy = false))
    }
  }

  function tick(): void {
    if (!isActive()) {
      stream.close()
    } else if (Date.now() - lastInput >= PAUSE_AFTER_MS) {
      stream.close()
      paused.value = true
    } else {
      void refresh()
      connect()
    }
  }

  function connect(): void {
    if (streamed.length && isActive()) {
      stream.connect()
    }
  }

  function onInput(): void {
    lastInput = Date.now()
    if (paused.value && isActive()) {
      void refresh()
      connect()
    }
  }

  function onVisibilityChange(): void {
    if (!document.hidden) {
      onInput()
    }
    tick()
  }

  connect()
  const timer = setInterval(tick, intervalMs)
  INPUTS.forEach((name) => document.addEventListener(name, onInput, { passive: true }))
  document.addEventListener('visibilitychange', onVisibilityChange)
  onScopeDispose(() => {
    clearInterval(timer)
    stream.close()
    INPUTS.forEach((name) => document.removeEventListener(name, onInput))
    document.removeEventListener('visibilitychange', onVisibilityChange)
  })
  return reactive({ updatedAt, state, streaming: stream.connected, refresh })
}
