/** The API key form. Converts between the form fields and the request body. */
import type { Schemas } from './api/client'
import { KEY_FIELDS } from './keyFields'
import { words } from './keys'
import { label } from './preferences'

type Fields = typeof KEY_FIELDS
export type FieldName = keyof Fields
type Key = Schemas['KeyView']

export interface KeyForm {
  /** Text by field. The items of a list are separated by spaces. */
  texts: Record<FieldName, string>
  /** Selected values by field. */
  choices: Record<FieldName, string[]>
  environment: '' | 'live' | 'test'
  quota: string
  window: string
  days: string
}

const DAY_S = 86_400
const NAMES = Object.keys(KEY_FIELDS) as FieldName[]

/** The fields of a section that have one of these kinds of controls. */
export function fieldsOf(section: Fields[FieldName]['section'], ...kinds: Fields[FieldName]['kind'][]) {
  return NAMES.filter((name) => KEY_FIELDS[name].section === section && kinds.includes(KEY_FIELDS[name].kind))
}

function eachField<Value>(value: (name: FieldName) => Value): Record<FieldName, Value> {
  return Object.fromEntries(NAMES.map((name) => [name, value(name)])) as Record<FieldName, Value>
}

/** The text for a field, or undefined if the catalogue has none. */
export function textFor(prefix: string, name: string): string | undefined {
  const text = label(prefix, name)
  return text === name ? undefined : text
}

/** The value of a field, for people. */
export function shown(name: FieldName, value: string | readonly string[]): string {
  return (typeof value === 'string' ? value : value.join(', ')) || (textFor('keys.none', name) ?? '–')
}

export function emptyKey(): KeyForm {
  return { texts: eachField(() => ''), choices: eachField(() => []), environment: '', quota: '', window: '60', days: '90' }
}

/** Returns the form for an existing key. Only a single limit can be edited here. Other limits are shown but not changed. */
export function formOf(key: Key): KeyForm {
  const limit = key.limits.length === 1 ? key.limits[0] : undefined
  return {
    texts: eachField((name) => [key[name]].flat().join(' ')),
    choices: eachField((name) => [key[name]].flat()),
    environment: '',
    quota: limit ? String(limit.quota) : '',
    window: limit ? String(limit.window_s) : '60',
    days: '',
  }
}

/** Values of the fields, by name. */
export function fieldValues(form: KeyForm): Record<FieldName, string | string[]> {
  return eachField((name) => {
    const text = form.texts[name]
    const { kind } = KEY_FIELDS[name]
    return kind === 'choices' ? [...form.choices[name]] : kind === 'words' ? words(text) : kind === 'lines' ? text : text.trim()
  })
}

/** The body of a change request, with the properties that were entered. */
function body(form: KeyForm): Schemas['UpdateKey'] {
  const limits = [{ name: 'requests', quota: Number(form.quota), window_s: Number(form.window) }]
  return { ...fieldValues(form), ...(Number(form.quota) > 0 && { limits }) } as Schemas['UpdateKey']
}

/** The body of a creation request. Without scopes, the console uses its default. */
export function creationBody(form: KeyForm): Schemas['CreateKey'] {
  const { scopes, ...properties } = body(form)
  return {
    ...(properties as Schemas['CreateKey']),
    ...(scopes?.length && { scopes }),
    ...(Number(form.days) > 0 && { ttl_s: Math.round(Number(form.days) * DAY_S) }),
    ...(form.environment && { environment: form.environment }),
  }
}

/** Returns the properties that differ between two forms, which form the body of a change request. */
export function changedProperties(before: KeyForm, after: KeyForm): Schemas['UpdateKey'] {
  const old = new Map(Object.entries(body(before)))
  const entries = Object.entries(body(after)).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(old.get(name)))
  return Object.fromEntries(entries) as Schemas['UpdateKey']
}
