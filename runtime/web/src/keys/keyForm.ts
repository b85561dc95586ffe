/** The API key form. Converts between the form fields and the request body. */
import type { Schemas } from '../api/client'
import { localTime } from '../forms/forms'
import { creditBody, creditForm, DAY_S, limitBodies, limitForms, metadataBody, metadataForm, type CreditForm, type LimitForm, type MetadataForm } from '../forms/settings'
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
  metadata: MetadataForm
  credits: CreditForm
  /** Create the customer if it is unknown. */
  createCustomer: boolean
  /** The scopes are those of the plan. */
  planScopes: boolean
  days: string
  /** Local time. Empty: the key does not expire. */
  expires: string
}

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
export function shown(name: FieldName, value: string | readonly string[] | null): string {
  return (typeof value === 'string' ? value : value?.join(', ')) || (textFor('keys.none', name) ?? '–')
}

/** Lifetime of a new key without a plan. */
export const DAYS = '90'

export function emptyKey(): KeyForm {
  return { texts: eachField(() => ''), choices: eachField(() => []), environment: '', limits: [], metadata: [], credits: creditForm(null), createCustomer: false, planScopes: false, days: DAYS, expires: '' }
}

/** Returns the form for an existing key. It shows everything that it can change. */
export function formOf(key: Key): KeyForm {
  return {
    texts: eachField((name) => [key[name]].flat().join(' ')),
    choices: eachField((name) => [key[name] ?? []].flat()),
    environment: '',
    limits: key.inherits.includes('limits') ? [] : limitForms(key.limits),
    metadata: metadataForm(key.metadata),
    credits: creditForm(key.credits),
    createCustomer: false,
    planScopes: key.inherits.includes('scopes'),
    days: '',
    expires: key.expires_at ? localTime(key.expires_at) : '',
  }
}

/** Values of the fields, by name. */
export function fieldValues(form: KeyForm): Record<FieldName, string | string[] | null> {
  return eachField((name) => {
    const text = form.texts[name]
    const { kind } = KEY_FIELDS[name]
    const value = kind === 'choices' ? [...form.choices[name]] : kind === 'words' ? words(text) : kind === 'lines' ? text : text.trim()
    return kind === 'reference' ? value || null : value
  })
}

/** A key follows the plan of its customer, or its own. */
export function follows({ texts }: KeyForm): boolean {
  return Boolean(texts.customer_id || texts.plan)
}

/** The properties that a form stands for. Without limits, the key has those of its plan, or the default of the deployment. */
export function body(form: KeyForm): Schemas['UpdateKey'] {
  const values = fieldValues(form)
  return {
    ...values,
    ...(values.customer_id && { plan: null }),
    ...(form.planScopes && follows(form) && { scopes: null }),
    limits: form.limits.length ? limitBodies(form.limits) : null,
    metadata: metadataBody(form.metadata),
    credits: creditBody(form.credits),
    expires_at: form.expires ? new Date(form.expires).toISOString() : null,
  } as Schemas['UpdateKey']
}

/** The body of a creation request. Without scopes, the key has those of its plan, or the default of the console. */
export function creationBody(form: KeyForm): Schemas['CreateKey'] {
  const { scopes, expires_at: _, ...properties } = body(form)
  return {
    ...(properties as Schemas['CreateKey']),
    ...(scopes?.length && { scopes }),
    ...(form.createCustomer && properties.customer_id && { create_customer: true }),
    ...(Number(form.days) > 0 && { ttl_s: Math.round(Number(form.days) * DAY_S) }),
    ...(form.environment && { environment: form.environment }),
  }
}
