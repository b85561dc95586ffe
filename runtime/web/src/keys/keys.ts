/** Helpers for the API key screens. */
import type { Schemas } from '../api/client'
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

/** Splits a string into words at commas and whitespace. */
export function words(text: string): string[] {
  return text.split(/[\s,]+/).filter(Boolean)
}
