/** Parts that forms share. */
import { reactive, type UnwrapNestedRefs } from 'vue'
import { ApiError } from '../api/client'
import { useAction, type Action } from '../api/query'
import { t } from '../text/preferences'

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

export interface Editor<Resource, Form, Change> {
  /** The form that the user sees, which is reactive. */
  form: Form
  /** The form of a resource that the user has not changed. */
  formOf: (resource: Resource) => Form
  /** The properties that a form stands for. */
  body: (form: Form) => Change
  /** Properties of which each part is changed on its own. */
  parts?: readonly string[]
  version: (resource: Resource) => number
  load: () => Promise<Resource>
  /** Changes the resource if it has this version. */
  update: (change: Change, version: number) => Promise<unknown>
  /** Called after a change. */
  changed: () => Promise<void>
}

export interface Editing<Resource> {
  /** The resource that the form shows where the user has not changed it; undefined while the form is closed. */
  base: Resource | undefined
  save: Action<[]>
  open: (resource: Resource | undefined) => void
  close: () => void
}

/**
 * A form that changes a resource. Sends only the properties that the user changed. If the resource was changed in the meantime, the
 * values of the user remain in the form, the others become current, and the next save applies the changes to the current version.
 */
export function useEditing<Resource, Form extends object, Change extends object>(
  editor: Editor<Resource, Form, Change>,
): UnwrapNestedRefs<Editing<Resource>> {
  const { form, formOf, body, parts } = editor
  let version = 0
  const save = useAction(async () => {
    const change = difference(body(formOf(editing.base as Resource)), body(form), parts)
    if (Object.keys(change).length) {
      try {
        await editor.update(change, version)
      } catch (error) {
        throw error instanceof ApiError && error.status === 412 ? await refreshed(error) : error
      }
      await editor.changed()
    }
    close()
  })
  /** Reads the current version. Returns the error with the properties that both changed. */
  async function refreshed(error: ApiError): Promise<ApiError> {
    const current = await editor.load()
    const [before, now] = [formOf(editing.base as Resource), formOf(current)]
    Object.assign(form, merged(before, now, form))
    editing.base = current as typeof editing.base
    version = editor.version(current)
    const problems = conflicts(body(before), body(now), body(form), 'body').map(([location, value]) => {
      const text = [value].flat().every((item) => typeof item === 'string') ? [value].flat().join(', ') : JSON.stringify(value)
      return { location, message: t('problem.changedTo', { value: text || '–' }), fix: '' }
    })
    return new ApiError(error.status, error.code, error.detail, problems, error.requestId)
  }

  const editing = reactive({ base: undefined, save, open, close }) as UnwrapNestedRefs<Editing<Resource>>

  function open(resource: Resource | undefined): void {
    if (resource !== undefined) {
      save.error = undefined
      version = editor.version(resource)
      Object.assign(form, formOf(resource))
    }
    editing.base = resource as typeof editing.base
  }

  function close(): void {
    open(undefined)
  }

  return editing
}

function isEqual(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}

/** The properties of `after` that differ from `before`, and of these `parts` only what differs. */
function difference<Value extends object>(before: Value, after: Value, parts: readonly string[] = []): Value {
  const changed = Object.entries(after).filter(([name, value]) => !isEqual(value, before[name as keyof Value]))
  return Object.fromEntries(
    changed.map(([name, value]) => {
      const old = before[name as keyof Value]
      return [name, parts.includes(name) && isObject(old) && isObject(value) ? difference(old, value) : value]
    }),
  ) as Value
}

/** The location and the current value of what both changed. */
function conflicts(before: unknown, current: unknown, mine: unknown, location: string): [string, unknown][] {
  if (isObject(before) && isObject(current) && isObject(mine)) {
    return Object.keys(current).flatMap((name) => conflicts(before[name], current[name], mine[name], `${location}.${name}`))
  }
  return isEqual(before, current) || isEqual(current, mine) ? [] : [[location, current]]
}

/** The current value with what the user changed: of an object, each property; of a list, each item. */
function merged<Value>(before: Value, current: Value, mine: Value): Value {
  if (isEqual(before, mine)) {
    return current
  }
  if (Array.isArray(before) && Array.isArray(current) && Array.isArray(mine)) {
    const without = (list: unknown[], other: unknown[]): unknown[] => list.filter((item) => !other.some((each) => isEqual(each, item)))
    const added = without(mine, before)
    return [...without(without(current, without(before, mine)), added), ...added] as Value
  }
  if (isObject(before) && isObject(current) && isObject(mine)) {
    const names = Object.keys(mine) as (keyof Value & string)[]
    return Object.fromEntries(names.map((name) => [name, merged(before[name], current[name], mine[name])])) as Value
  }
  return mine
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !(value instanceof File)
}
