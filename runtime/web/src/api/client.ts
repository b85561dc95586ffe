/**
 * Typed client for the management API. The methods, paths and roles of operations come from /operations.json on the console.
 * The shapes come from the OpenAPI document.
 */
import { reactive } from 'vue'
import { encoder } from '../text/bytes'
import { answered, forget, inFlight, isShownOnce, keep, type SentRequest } from './results'
import type { components, operations } from './schema'

export type Schemas = components['schemas']
export type OperationId = keyof operations

/** An operation, as described in /operations.json. `step_up`: never, always or managing; null if the operation changes nothing. */
export interface Operation {
  method: string
  path: string
  roles: string[]
  step_up: string | null
  /** False if it needs a service that is not configured. */
  configured: boolean
}

type Parameters<K extends OperationId, Place extends string> = operations[K] extends {
  parameters: { [P in Place]?: infer Value }
}
  ? NonNullable<Value>
  : never
type Body<K extends OperationId> = operations[K] extends {
  requestBody?: { content: { 'application/json': infer Value } }
}
  ? Value
  : never
type Success<K extends OperationId> = operations[K]['responses'] extends infer Responses
  ? { [Status in keyof Responses & (200 | 201)]: Responses[Status] } extends infer Picked
    ? Picked[keyof Picked] extends { content: { 'application/json': infer Value } }
      ? Value
      : undefined
    : never
  : never

export interface CallOptions<K extends OperationId> {
  path?: Parameters<K, 'path'>
  query?: Parameters<K, 'query'>
  body?: Body<K>
  /** Expected version of the resource that the request changes. `*`: any. */
  version?: number | '*'
  /** The part of a link in the response that only the browser knows. It is not sent. */
  own?: string
  /** A credential to use instead of the session. */
  credential?: string
  signal?: AbortSignal
}

/** A problem document (RFC 9457), or a failure without a response (status 0, code `network`, `unanswered`, `page` or `unexpected`: see failure.ts). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly errors: Schemas['ProblemDetail'][],
    readonly requestId: string,
  ) {
    super(code)
  }

  /** Locations of the problems that the page shows at a field. */
  readonly shown = reactive(new Set<string>())
}

type Handler = (error: ApiError, method: string) => Promise<boolean>

let table: Record<string, Operation> = {}
let csrf = ''
let onUnauthorized: Handler = async () => false
/**
 * The Idempotency-Key of each change that was sent and has not succeeded, by the digest of the change. If its response is lost, the
 * console may have made the change. The same change is then sent with the same key, so that the console does not make it twice and
 * returns the first response.
 */
const pending = new Map<string, string>()
/** The digest of the last request without a known result, by method and path, for requests that are not the same when sent twice. */
const unanswered = new Map<string, string>()

/** Loads the operations. Returns the name of the identity provider with which browsers can sign in, or null. */
export async function loadOperations(): Promise<string | null> {
  const response = await send('/operations.json', { method: 'GET' })
  const content = (await response.json()) as { operations: Record<string, Operation>; identity_provider: string | null }
  table = content.operations
  return content.identity_provider
}

/** Returns the operation, or undefined if the feature is disabled. */
export function operation(id: OperationId): Operation | undefined {
  return table[id]
}

/** The URL of an operation that is a download. The browser sends the session cookie with it. */
export function downloadUrl<K extends OperationId>(id: K, query: Parameters<K, 'query'>): string {
  return address<K>(table[id]?.path ?? '', { query })
}

export function useCsrfToken(token: string): void {
  csrf = token
}

/** Forgets the changes without a response, which belong to the user of the session. */
export function forgetChanges(): void {
  pending.clear()
  unanswered.clear()
}

/** Sets the handler for 401 responses. The request is sent again if `handler` returns true. */
export function handleUnauthorized(handler: Handler): void {
  onUnauthorized = handler
}

/**
 * Calls an operation. Sends the request again if another session has replaced the session. Throws ApiError, also once instead of sending
 * another request while the result of the previous one is unknown, so that the user does not create two objects without knowing.
 */
export async function call<K extends OperationId>(id: K, options: CallOptions<K> = {}): Promise<Success<K>> {
  const target = table[id]
  if (!target) {
    throw new ApiError(404, 'not_found', '', [], '')
  }
  // An operation that changes nothing has no step-up rule.
  const change = target.step_up === null || options.credential !== undefined ? '' : await digest(target, options)
  const place = change && target.method === 'POST' ? address(target.path, { path: options.path }) : ''
  if (place && (unanswered.get(place) ?? change) !== change) {
    unanswered.delete(place)
    throw new ApiError(0, 'unanswered', '', [], '')
  }
  if (change && !pending.has(change)) {
    pending.set(change, crypto.randomUUID())
  }
  const key = pending.get(change)
  const sent = key && isShownOnce(id) ? { key, operation: id, path: address(target.path, options), at: Date.now(), own: options.own ?? '' } : undefined
  const attempt = (): Promise<Success<K>> =>
    request(target, options, key).catch((error: unknown) => {
      if (place && error instanceof ApiError && isUnanswered(error)) {
        unanswered.set(place, change)
      }
      throw error
    })
  inFlight.add(key ?? '')
  const result = await resultOf(target.method, attempt, sent, options.credential).finally(() => inFlight.delete(key ?? ''))
  pending.delete(change)
  unanswered.delete(place)
  return result
}

/** Returns the stored response to an earlier request. It changes nothing. Throws ApiError. */
export async function repeat(sent: SentRequest): Promise<object> {
  const { method } = table[sent.operation] ?? { method: 'POST' }
  const headers = { 'Idempotency-Key': `"${sent.key}"`, 'Idempotency-Replay': 'only' }
  return await resultOf(
    method,
    async () => (await read(await send(sent.path, { method, headers: { ...headers, 'X-CSRF-Token': csrf } }))) as object,
    sent,
  )
}

/** The result of a request, which is sent again after a sign-in. `sent`: its response contains values that are shown once. */
async function resultOf<Result>(method: string, attempt: () => Promise<Result>, sent?: SentRequest, credential?: string): Promise<Result> {
  const token = csrf
  if (sent) {
    keep(sent)
  }
  try {
    const result = await attempt().catch(async (error: unknown) => {
      const isDenied = error instanceof ApiError && error.status === 401 && !credential
      const isReplaced = csrf !== token && csrf !== ''
      if (!isDenied || !(isReplaced || (await onUnauthorized(error, method)))) {
        throw error
      }
      return await attempt()
    })
    if (sent) {
      answered(sent, result as object)
    }
    return result
  } catch (error) {
    // A rejected request has no result.
    if (sent && error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 401 && !['request_in_progress', 'response_not_stored'].includes(error.code)) {
      forget(sent)
    }
    throw error
  }
}

/** True if the connection was lost, or if a proxy and not the console answered. */
function isUnanswered(error: ApiError): boolean {
  return error.code === 'network' || (error.status >= 500 && error.code === 'error')
}

/** SHA-256 of the parts of a request that determine what it changes. */
async function digest<K extends OperationId>(target: Operation, options: CallOptions<K>): Promise<string> {
  const text = JSON.stringify([target.method, address(target.path, options), options.body])
  return String(new Uint8Array(await crypto.subtle.digest('SHA-256', encoder.encode(text))))
}

async function request<K extends OperationId>(target: Operation, options: CallOptions<K>, key?: string): Promise<Success<K>> {
  const headers = new Headers({ Accept: 'application/json' })
  if (key !== undefined) {
    headers.set('Idempotency-Key', `"${key}"`)
  }
  if (options.credential !== undefined) {
    headers.set('Authorization', `Bearer ${options.credential}`)
  } else if (target.method !== 'GET') {
    headers.set('X-CSRF-Token', csrf)
  }
  if (options.version !== undefined) {
    headers.set('If-Match', options.version === '*' ? '*' : `"${options.version}"`)
  }
  let body: string | undefined
  if (options.body !== undefined) {
    headers.set('Content-Type', 'application/json')
    body = JSON.stringify(options.body)
  }
  const response = await send(address(target.path, options), { method: target.method, headers, body, signal: options.signal })
  return (response.status === 204 ? undefined : await read(response)) as Success<K>
}

function address<K extends OperationId>(template: string, options: CallOptions<K>): string {
  const path = (options.path ?? {}) as Record<string, string>
  const filled = template.replace(/\{(\w+)\}/g, (_match, name: string) => encodeURIComponent(path[name] ?? ''))
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries((options.query ?? {}) as Record<string, unknown>)) {
    if (value !== undefined && value !== null && value !== '') {
      query.set(name, String(value))
    }
  }
  return query.size ? `${filled}?${query}` : filled
}

/** The JSON body of a response, whose connection can be lost before the body is complete. */
async function read(response: Response): Promise<unknown> {
  return await response.json().catch(lost)
}

function lost(error: unknown): never {
  if (error instanceof DOMException && error.name === 'AbortError') {
    throw error
  }
  throw new ApiError(0, 'network', '', [], '')
}

async function send(url: string, init: RequestInit): Promise<Response> {
  const response = await fetch(url, { ...init, credentials: 'same-origin', cache: 'no-store', redirect: 'error' }).catch(lost)
  if (response.ok) {
    return response
  }
  const problem = (await response.json().catch(() => ({}))) as Partial<Schemas['Problem']>
  const requestId = problem.request_id ?? response.headers.get('X-Request-Id') ?? ''
  throw new ApiError(response.status, problem.code ?? 'error', problem.detail ?? '', problem.errors ?? [], requestId)
}
