/** Parts that forms share. */
import { reactive, type UnwrapNestedRefs } from 'vue'
import { ApiError, call } from '../api/client'
import { useAction, type Action } from '../api/query'
import { may } from '../identity/session'
import { formatTime, label, t } from '../text/preferences'

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
  /** Type of the resource in the audit trail. */
  type: string
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
  /** Who changed the resource in the meantime, as sentences. */
  changes: string[]
  /** The fields that both changed. The form can be saved when the user has chosen a value for each. */
  conflicts: Conflict[]
  choose: (conflict: Conflict, choice: 'mine' | 'theirs') => void
}

export interface Conflict {
  /** Names of the field in the form, and of those that contain it. */
  path: string[]
  mine: unknown
  theirs: unknown
  choice: '' | 'mine' | 'theirs'
}

/**
 * A form that changes a resource. Sends only the properties that the user changed. If the resource was changed in the meantime, the
 * values of the user remain in the form, the others become current, and the next save applies the changes to the current version. Before
 * that, the user chooses the value of each field that both changed.
 */
export function useEditing<Resource, Form extends object, Change extends object>(
  editor: Editor<Resource, Form, Change>,
): UnwrapNestedRefs<Editing<Resource>> {
  const { form, formOf, body, parts } = editor
  let version = 0
  const save = useAction(async () => {
    if (editing.conflicts.some(({ choice }) => !choice)) {
      return
    }
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
  /** Reads the current version, the fields that both changed, and who changed it. */
  async function refreshed(error: ApiError): Promise<ApiError> {
    const current = await editor.load()
    const [before, now, mine] = [formOf(editing.base as Resource), formOf(current), clone(form)]
    editing.conflicts = conflicts(before, now, mine, [])
    editing.changes = await changesSince(editor.type, current as object, version)
    Object.assign(form, merged(before, now, form))
    editing.base = current as typeof editing.base
    version = editor.version(current)
    return new ApiError(error.status, error.code, error.detail, [], error.requestId)
  }

  function choose(conflict: Conflict, choice: 'mine' | 'theirs'): void {
    const inner = conflict.path.slice(0, -1).reduce((value, name) => value[name] as Record<string, unknown>, form as Record<string, unknown>)
    inner[conflict.path.at(-1)!] = clone(conflict[choice])
    conflict.choice = choice
  }

  const editing = reactive({ base: undefined, save, open, close, changes: [], conflicts: [], choose }) as UnwrapNestedRefs<Editing<Resource>>

  function open(resource: Resource | undefined): void {
    if (resource !== undefined) {
      save.error = undefined
      version = editor.version(resource)
      Object.assign(form, formOf(resource))
    }
    editing.base = resource as typeof editing.base
    editing.changes = []
    editing.conflicts = []
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

/** What both changed, except for lists with different items. */
function conflicts(before: unknown, theirs: unknown, mine: unknown, path: string[]): Conflict[] {
  if (isObject(before) && isObject(theirs) && isObject(mine) && !Array.isArray(before)) {
    return Object.keys(theirs).flatMap((name) => conflicts(before[name], theirs[name], mine[name], [...path, name]))
  }
  const areChanged = ![[before, theirs], [before, mine], [theirs, mine]].some(([one, other]) => isEqual(one, other))
  const lists = [before, theirs, mine].filter(Array.isArray)
  const isOne = lists.length < 3 || without(without(lists[0]!, lists[1]!), lists[2]!).length > 0
  return areChanged && isOne ? [{ path, mine, theirs, choice: '' }] : []
}

/** The items of a list that the other does not have. */
function without(list: unknown[], other: unknown[]): unknown[] {
  return list.filter((item) => !other.some((each) => isEqual(each, item)))
}

/** A copy, also of files. */
function clone<Value>(value: Value): Value {
  return (Array.isArray(value) ? value.map(clone) : isObject(value) ? Object.fromEntries(Object.entries(value).map(([name, each]) => [name, clone(each)])) : value) as Value
}

/** Who changed the resource since the version, if the user may know that. */
async function changesSince(type: string, resource: { id?: string; name?: string }, version: number): Promise<string[]> {
  const query = { target_id: resource.id ?? resource.name, action: `${type}.*`, limit: 20 }
  const { events, names } = may('list_audit') ? await call('list_audit', { query }) : { events: [], names: {} as Record<string, string> }
  const later = events.filter(({ details }, index) => (typeof details['version'] === 'number' ? details['version'] >= version : index === 0))
  return later.map(({ actor_id: id, occurred_at: at, action, details }) => {
    const fields = details['changed'] as string[] | undefined
    const changed = fields ? fields.map(fieldName).join(', ') : action
    return t('problem.changedBy', { actor: names[id] ?? id, fields: changed, time: formatTime(at) })
  })
}

/** The name of a field for people. */
export function fieldName(name: string): string {
  const text = label('field', name)
  return text === name ? name.replaceAll('_', ' ') : text
}

/** The current value with what the user changed: of an object, each property; of a list, each item. */
function merged<Value>(before: Value, current: Value, mine: Value): Value {
  if (isEqual(before, mine)) {
    return current
  }
  if (Array.isArray(before) && Array.isArray(current) && Array.isArray(mine)) {
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
