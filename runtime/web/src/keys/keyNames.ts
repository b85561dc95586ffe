/** Names of keys in lists that contain only IDs. */
import { reactive } from 'vue'
import { ApiError, call } from '../api/client'
import { may } from '../identity/session'

export function useKeyNames() {
  const names = reactive(new Map<string, string>())

  /** The name of a key, or its ID if the name has not been loaded or the key was purged. */
  function nameOf(id: string): string {
    return names.get(id) || id
  }

  /** Loads the names of keys that have not been loaded. */
  async function load(ids: string[], signal: AbortSignal): Promise<void> {
    if (may('show_key')) {
      await Promise.all([...new Set(ids)].filter((id) => id && !names.has(id)).map((id) => loadName(id, signal)))
    }
  }

  async function loadName(id: string, signal: AbortSignal): Promise<void> {
    const name = await call('show_key', { path: { id }, signal }).then(
      (key) => key.name,
      (error: unknown) => {
        if (error instanceof ApiError && error.status === 404) {
          return ''
        }
        throw error
      },
    )
    names.set(id, name)
  }

  return { nameOf, load }
}
