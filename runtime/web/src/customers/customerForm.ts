/** The forms of customers and plans. Convert between the form fields and the request bodies. */
import type { Schemas } from '../api/client'
import { creditBody, creditForm, DAY_S, limitBodies, limitForms, metadataBody, metadataForm, refillBody, type CreditForm, type LimitForm, type MetadataForm } from '../forms/settings'
import { words } from '../keys/keys'

export const CUSTOMER_STATES = ['active', 'disabled', 'deleted'] as const

export interface CustomerForm {
  id: string
  name: string
  plan: string
  contact: string
  /** Separated by spaces. */
  tags: string
  notes: string
  metadata: MetadataForm
  limits: LimitForm[]
  credits: CreditForm
}

export interface PlanForm {
  name: string
  description: string
  /** Separated by spaces. */
  scopes: string
  days: string | number
  limits: LimitForm[]
  sharedLimits: LimitForm[]
  credits: CreditForm
}

export function customerForm(customer?: Schemas['CustomerView']): CustomerForm {
  const { id = '', name = '', plan, contact = '', tags = [], notes = '', metadata = {}, limits = null, credits = null } = customer ?? {}
  return { id, name, plan: plan ?? '', contact, tags: tags.join(' '), notes, metadata: metadataForm(metadata), limits: limitForms(limits), credits: creditForm(credits) }
}

/** Without limits and credits, the customer has those of its plan. */
export function customerBody(form: CustomerForm): Schemas['UpdateCustomer'] {
  return {
    name: form.name.trim(),
    plan: form.plan || null,
    contact: form.contact.trim(),
    tags: words(form.tags),
    notes: form.notes,
    metadata: metadataBody(form.metadata),
    limits: form.limits.length ? limitBodies(form.limits) : null,
    credits: creditBody(form.credits),
  }
}

/** The default of the name is the ID. */
export function newCustomer(form: CustomerForm): Schemas['CreateCustomer'] {
  const { name, ...others } = customerBody(form)
  return { ...others, id: form.id.trim(), ...(name && { name }) } as Schemas['CreateCustomer']
}

export function planForm(plan?: Schemas['PlanView']): PlanForm {
  const { name = '', description = '', scopes, ttl_s: ttl, limits = null, shared_limits: sharedLimits = null, credits: refill = null } = plan ?? {}
  return {
    name,
    description,
    scopes: scopes?.join(' ') ?? '',
    days: ttl ? ttl / DAY_S : '',
    limits: limitForms(limits),
    sharedLimits: limitForms(sharedLimits),
    credits: creditForm(refill && { remaining: refill.amount, refill }),
  }
}

export function newPlan(form: PlanForm): Schemas['CreatePlan'] {
  return { ...planBody(form), name: form.name.trim() } as Schemas['CreatePlan']
}

/** Empty fields are not specified by the plan. */
export function planBody(form: PlanForm): Schemas['UpdatePlan'] {
  return {
    description: form.description.trim(),
    scopes: words(form.scopes).length ? words(form.scopes) : null,
    ttl_s: form.days === '' ? null : Math.round(Number(form.days) * DAY_S),
    limits: form.limits.length ? limitBodies(form.limits) : null,
    shared_limits: limitBodies(form.sharedLimits),
    credits: refillBody(form.credits),
  }
}
