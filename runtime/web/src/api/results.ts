/**
 * Requests whose responses contain values that are shown once. The tab stores the Idempotency-Key of each of them until the user has
 * stored the values, at most ten minutes, so that the response is found again after a reload. The console returns the response only
 * to the same user.
 */
import { toRaw } from 'vue'
import type { OperationId } from './client'

/** Every operation whose response has a field with `x-shown-once` in the OpenAPI document, except those that the web UI does not call. */
export const SHOWN_ONCE = ['create_key', 'rotate_key', 'create_portal_link', 'create_secret', 'create_secret_request', 'create_webhook', 'rotate_webhook_secret'] as const
export type ShownOnceOperation = (typeof SHOWN_ONCE)[number]

export interface SentRequest {
  /** Its Idempotency-Key. */
  key: string
  operation: ShownOnceOperation
  /** Its path. */
  path: string
  /** Time at which it was sent. */
  at: number
  /** The part of a link that only the browser knows. */
  own: string
}

const STORAGE_KEY = 'results'
const KEPT_MS = 600_000
/** The Idempotency-Keys of the requests that this page has sent and that have no response yet. */
export const inFlight = new Set<string>()
const requests = new WeakMap<object, SentRequest>()

export function isShownOnce(operation: OperationId): operation is ShownOnceOperation {
  return (SHOWN_ONCE as readonly string[]).includes(operation)
}

/** The requests whose values the user has not stored. */
export function sentRequests(): SentRequest[] {
  const stored = JSON.parse(sessionStorage.getItem(STORAGE_KEY) ?? '[]') as SentRequest[]
  return stored.filter(({ at }) => Date.now() - at < KEPT_MS)
}

export function keep(request: SentRequest): void {
  store([...sentRequests().filter(({ key }) => key !== request.key), request])
}

export function forget(request: SentRequest): void {
  store(sentRequests().filter(({ key }) => key !== request.key))
}

/** The user of the session has changed. */
export function forgetAll(): void {
  store([])
}

function store(sent: SentRequest[]): void {
  if (sent.length) {
    sessionStorage.setItem(STORAGE_KEY, JSON.stringify(sent))
  } else {
    sessionStorage.removeItem(STORAGE_KEY)
  }
}

/** Call this function with the response to a request. */
export function answered(request: SentRequest, response: object): void {
  requests.set(response, request)
}

/** The request of a response. Throws TypeError for responses of other operations. */
export function requestOf(response: object): SentRequest {
  const request = requests.get(toRaw(response))
  if (!request) {
    throw new TypeError('not a response with values that are shown once')
  }
  return request
}
