/** Helpers of the screens of API keys. */
import type { Schemas } from './api/client'

type Key = Schemas['KeyView']

export const KEY_STATES = ['active', 'expired', 'disabled', 'revoked', 'deleted', 'purged'] as const
export const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const

/** The state of a key, or `expired`: the API reports an expired key as active, with a past `expires_at`. */
export function displayState(key: Key): string {
  const expired = key.state === 'active' && key.expires_at !== null && new Date(key.expires_at).getTime() <= Date.now()
  return expired ? 'expired' : key.state
}

/** Words of a text, separated by commas or white space. */
export function words(text: string): string[] {
  return text.split(/[\s,]+/).filter(Boolean)
}
