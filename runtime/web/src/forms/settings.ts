/** Rate limits, credits and metadata in forms, which keys, customers and plans share. */
import type { Schemas } from '../api/client'
import { formatDuration, formatNumber, t } from '../text/preferences'

type Limit = Schemas['RateLimit']
type Every = Schemas['Refill']['every']

/** A rate limit. Vue stores the value of a number field as a number, or as an empty text. */
export interface LimitForm {
  name: string
  quota: string | number
  window: number
  burst: string | number
  cost: string | number
}

export interface CreditForm {
  /** Credits to add to those that remain. */
  add: string | number
  /** Credits that remain. Empty: requests consume no credits. */
  remaining: string | number
  /** Credits to which a refill raises the remaining ones. Empty: no refill. */
  refill: string | number
  every: Every
}

export type MetadataForm = { name: string; value: string }[]

export const PERIODS = ['hour', 'day', 'week', 'month'] as const
export const DAY_S = 86_400

const WINDOWS = [1, 60, 3600, 86_400]

/** The windows of a limit, in seconds. The current value is among them, so that it can be kept. */
export const windows = (current: number): number[] => [...new Set([...WINDOWS, current])].sort((a, b) => a - b)

/** A new row. The first limit has the name that the other clients use too. */
export function emptyLimit(limits: LimitForm[]): LimitForm {
  return { name: limits.length ? '' : 'requests', quota: '', window: 60, burst: '', cost: 1 }
}

export function limitForms(limits: Limit[] | null): LimitForm[] {
  return (limits ?? []).map(({ name, quota, window_s: window, burst, cost }) => ({ name, quota, window, burst: burst === quota ? '' : burst, cost }))
}

export function limitBodies(forms: LimitForm[]): Schemas['RateLimitInput'][] {
  return forms.map(({ name, quota, window, burst, cost }) => ({
    name: name.trim(),
    quota: Number(quota),
    window_s: window,
    ...(burst !== '' && { burst: Number(burst) }),
    cost: Number(cost),
  }))
}

export function creditForm(credits: Schemas['Credits'] | null): CreditForm {
  return { add: '', remaining: credits?.remaining ?? '', refill: credits?.refill?.amount ?? '', every: credits?.refill?.every ?? 'month' }
}

export function refillBody({ refill, every }: Pick<CreditForm, 'refill' | 'every'>): Schemas['Refill'] | null {
  return refill === '' ? null : { amount: Number(refill), every }
}

/** Refilled credits never end, so an empty number of credits removes the refill too. */
export function creditBody(form: CreditForm): Schemas['UpdateCredits'] | null {
  return form.remaining === '' ? null : { ...(form.add !== '' && { add: Number(form.add) }), remaining: Number(form.remaining), refill: refillBody(form) }
}

export function metadataForm(metadata: Record<string, string>): MetadataForm {
  return Object.entries(metadata).map(([name, value]) => ({ name, value }))
}

export function metadataBody(form: MetadataForm): Record<string, string> {
  return Object.fromEntries(form.map(({ name, value }) => [name.trim(), value]))
}

/** Rate limits, for people. */
export function limitsText(limits: Limit[] | null): string {
  const texts = (limits ?? []).map(({ name, quota, window_s: window, burst, cost }) => {
    const parts = [t('keys.limitText', { quota: formatNumber(quota), window: formatDuration(window) })]
    if (burst !== quota) parts.push(`${t('keys.burst')} ${formatNumber(burst)}`)
    if (cost !== 1) parts.push(`${t('keys.cost')} ${formatNumber(cost)}`)
    return `${name}: ${parts.join(', ')}`
  })
  return texts.join('; ') || '–'
}

export function refillText(refill: Schemas['Refill'] | null): string {
  return refill ? `${formatNumber(refill.amount)} / ${t(`period.${refill.every}`)}` : '–'
}

export function creditsText({ remaining, refill }: Schemas['Credits']): string {
  return [formatNumber(remaining), refill && `${t('keys.refill')} ${refillText(refill)}`].filter(Boolean).join(', ')
}
