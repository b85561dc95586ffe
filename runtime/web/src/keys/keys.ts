/** Helpers for the API key screens. */
import { operation, type Schemas } from '../api/client'
import { KEY_FIELDS } from './keyFields'

type Key = Schemas['KeyView']

export const KEY_STATES = ['active', 'expired', 'disabled', 'revoked', 'deleted', 'purged'] as const
/** Keys that expire within this time expire soon. */
export const EXPIRING_S = 1_209_600
export const METHODS = KEY_FIELDS.methods.choices

/** Returns the state of a key. The API reports an expired key as active with a past `expires_at`; the UI shows `expired`. */
export function displayState(key: Key): string {
  const expired = key.state === 'active' && key.expires_at !== null && new Date(key.expires_at).getTime() <= Date.now()
  return expired ? 'expired' : key.state
}

/** Returns true if the deployment shares secrets, so that a link can deliver a token. */
export function hasLinks(): boolean {
  return operation('list_secrets')?.configured === true
}

/** The property that makes a link deliver the token, if the user wants it. */
export function delivery(link: boolean): { delivery?: 'link' } {
  return link && hasLinks() ? { delivery: 'link' } : {}
}

/** Splits a string into words at commas and whitespace. */
export function words(text: string): string[] {
  return text.split(/[\s,]+/).filter(Boolean)
}
