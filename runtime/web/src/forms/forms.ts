/** Parts that forms share. */
import { reactive, type UnwrapNestedRefs } from 'vue'
import { ApiError } from '../api/client'
import { useAction, type Action } from '../api/query'

/**
 * Returns a function that generates values for a request, such as links. They are the same for the same `source`, so that a request
 * that is sent again after a lost response is the same request.
 */
export function useGenerated<Value>(source: () => unknown, generate: () => Promise<Value>): () => Promise<Value> {
  const generated = new Map<string, Promise<Value>>()
  return () => {
    const current = JSON.stringify(source())
    const value = generated.get(current) ?? generate()
    generated.set(current, value)
    return value
  }
}

/** Returns the value for a datetime-local field, with seconds. */
export function localTime(instant: string): string {
  const date = new Date(instant)
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19)
}

export interface Editor<Resource, Change> {
  /** Fills in the form. */
  fill: (resource: Resource) => void
  /** The properties that the form changes. */
  changes: (resource: Resource) => Change
  version: (resource: Resource) => number
  load: () => Promise<Resource>
  /** Changes the resource if it has this version. */
  update: (change: Change, version: number) => Promise<unknown>
  /** Called after a change. */
  changed: () => Promise<void>
}

export interface Editing<Resource> {
  /** The resource at the time when the form was opened; undefined while the form is closed. */
  base: Resource | undefined
  save: Action<[]>
  open: (resource: Resource | undefined) => void
  close: () => void
}

/**
 * A form that changes a resource. Sends only the properties that the user changed. If the resource was changed in the meantime, the
 * values remain in the form, and the next save applies them to the current version.
 */
export function useEditing<Resource, Change extends object>(editor: Editor<Resource, Change>): UnwrapNestedRefs<Editing<Resource>> {
  let version = 0
  const save = useAction(async () => {
    const change = editor.changes(editing.base as Resource)
    if (Object.keys(change).length) {
      try {
        await editor.update(change, version)
      } catch (error) {
        if (error instanceof ApiError && error.status === 412) {
          version = editor.version(await editor.load())
        }
        throw error
      }
      await editor.changed()
    }
    close()
  })
  const editing = reactive({ base: undefined, save, open, close }) as UnwrapNestedRefs<Editing<Resource>>

  function open(resource: Resource | undefined): void {
    if (resource !== undefined) {
      save.error = undefined
      version = editor.version(resource)
      editor.fill(resource)
    }
    editing.base = resource as typeof editing.base
  }

  function close(): void {
    open(undefined)
  }

  return editing
}
