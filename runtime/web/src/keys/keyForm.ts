/** The API key form. Converts between the form fields and the request body. */
import type { Schemas } from '../api/client'
import { localTime } from '../forms/forms'
import { KEY_FIELDS } from './keyFields'
import { words } from './keys'
import { label } from '../text/preferences'

type Fields = typeof KEY_FIELDS
export type FieldName = keyof Fields
type Key = Schemas['KeyView']

export interface KeyForm {
  /** Text by field. The items of a list are separated by spaces. */
  texts: Record<FieldName, string>
  /** Selected values by field. */
  choices: Record<FieldName, string[]>
  environment: '' | 'live' | 'test'
  limits: LimitForm[]
  metadata: { name: string; value: string }[]
  /** Credits to add to those that remain. */
  add: string | number
  /** Credits that remain. Empty: requests consume no credits. */
  remaining: string | number
  /** Credits to which a refill raises the remaining ones. Empty: no refill. */
  refill: string | number
  every: Schemas['Refill']['every']
  days: string
  /** Local time. Empty: the key does not expire. */
  expires: string
}

/** A rate limit. Vue stores the value of a number field as a number, or as an empty text. */
export interface LimitForm {
  name: string
  quota: string | number
  window: number
  burst: string | number
  cost: string | number
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
  return { texts: eachField(() => ''), choices: eachField(() => []), environment: '', limits: [], metadata: [], add: '', remaining: '', refill: '', every: 'month', days: '90', expires: '' }
}

/** A new row of the form. The first limit has the name that the other clients use too. */
export function emptyLimit(form: KeyForm): LimitForm {
  return { name: form.limits.length ? '' : 'requests', quota: '', window: 60, burst: '', cost: 1 }
}

/** Returns the form for an existing key. It shows everything that it can change. */
export function formOf(key: Key): KeyForm {
  return {
    texts: eachField((name) => [key[name]].flat().join(' ')),
    choices: eachField((name) => [key[name]].flat()),
    environment: '',
    limits: key.limits.map(({ name, quota, window_s: window, burst, cost }) => ({ name, quota, window, burst: burst === quota ? '' : burst, cost })),
    metadata: Object.entries(key.metadata).map(([name, value]) => ({ name, value })),
    add: '',
    remaining: key.credits?.remaining ?? '',
    refill: key.credits?.refill?.amount ?? '',
    every: key.credits?.refill?.every ?? 'month',
    days: '',
    expires: key.expires_at ? localTime(key.expires_at) : '',
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

/** Refilled credits never end, so an empty number of credits removes the refill too. */
function credits(form: KeyForm): Schemas['UpdateCredits'] | null {
  const refill = form.refill === '' ? null : { amount: Number(form.refill), every: form.every }
  return form.remaining === '' ? null : { ...(form.add !== '' && { add: Number(form.add) }), remaining: Number(form.remaining), refill }
}

/** The properties that a form stands for. Without limits, the key has the default of the deployment. */
export function body(form: KeyForm): Schemas['UpdateKey'] {
  const limits = form.limits.map(({ name, quota, window, burst, cost }) => ({
    name: name.trim(),
    quota: Number(quota),
    window_s: window,
    ...(burst !== '' && { burst: Number(burst) }),
    cost: Number(cost),
  }))
  return {
    ...fieldValues(form),
    limits: limits.length ? limits : null,
    metadata: Object.fromEntries(form.metadata.map(({ name, value }) => [name.trim(), value])),
    credits: credits(form),
    expires_at: form.expires ? new Date(form.expires).toISOString() : null,
  } as Schemas['UpdateKey']
}

/** The body of a creation request. Without scopes, the console uses its default. */
export function creationBody(form: KeyForm): Schemas['CreateKey'] {
  const { scopes, expires_at: _, ...properties } = body(form)
  return {
    ...(properties as Schemas['CreateKey']),
    ...(scopes?.length && { scopes }),
    ...(Number(form.days) > 0 && { ttl_s: Math.round(Number(form.days) * DAY_S) }),
    ...(form.environment && { environment: form.environment }),
  }
}
