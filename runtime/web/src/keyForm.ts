/** The API key form. Converts between the form fields and the request body. */
import type { Schemas } from './api/client'
import { words } from './keys'

type Method = Schemas['KeyView']['methods'][number]

export interface KeyForm {
  name: string
  owner: string
  environment: '' | 'live' | 'test'
  tags: string
  notes: string
  scopes: string
  cores: string
  methods: Method[]
  addresses: string
  quota: string
  window: string
  days: string
}

/** Properties that can be set when a key is created and when it is changed. */
export interface KeyBody {
  name: string
  owner: string
  tags: string[]
  notes: string
  cores: string[]
  methods: Method[]
  addresses: string[]
  scopes?: string[]
  limits?: Schemas['RateLimitInput'][]
  ttl_s?: number
}

const DAY_S = 86_400

export function emptyKey(): KeyForm {
  return {
    name: '',
    owner: '',
    environment: '',
    tags: '',
    notes: '',
    scopes: '',
    cores: '',
    methods: [],
    addresses: '',
    quota: '',
    window: '60',
    days: '90',
  }
}

/** Returns the form for an existing key. Only a single limit can be edited here. Other limits are shown but not changed. */
export function formOf(key: Schemas['KeyView']): KeyForm {
  const limit = key.limits.length === 1 ? key.limits[0] : undefined
  return {
    ...emptyKey(),
    name: key.name,
    owner: key.owner,
    tags: key.tags.join(' '),
    notes: key.notes,
    scopes: key.scopes.join(' '),
    cores: key.cores.join(' '),
    methods: [...key.methods],
    addresses: key.addresses.join(' '),
    quota: limit ? String(limit.quota) : '',
    window: limit ? String(limit.window_s) : '60',
    days: '',
  }
}

export function keyBody(form: KeyForm): KeyBody {
  const body: KeyBody = {
    name: form.name.trim(),
    owner: form.owner.trim(),
    tags: words(form.tags),
    notes: form.notes,
    cores: words(form.cores),
    methods: [...form.methods],
    addresses: words(form.addresses),
  }
  const scopes = words(form.scopes)
  if (scopes.length) {
    body.scopes = scopes
  }
  if (Number(form.quota) > 0) {
    body.limits = [{ name: 'requests', quota: Number(form.quota), window_s: Number(form.window) }]
  }
  if (Number(form.days) > 0) {
    body.ttl_s = Math.round(Number(form.days) * DAY_S)
  }
  return body
}

/** Returns the properties that differ between two forms, which form the body of a change request. */
export function changedProperties(before: KeyForm, after: KeyForm): Schemas['UpdateKey'] {
  const old = keyBody(before) as unknown as Record<string, unknown>
  const body = { ...keyBody(after), scopes: words(after.scopes) } as unknown as Record<string, unknown>
  old['scopes'] = words(before.scopes)
  const entries = Object.entries(body).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(old[name]))
  return Object.fromEntries(entries) as Schemas['UpdateKey']
}
