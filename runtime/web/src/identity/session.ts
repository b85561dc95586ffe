/** The browser session: sign-in, sign-out, step-up, and the operations that the roles permit. */
import { computed, reactive, readonly, ref, watch } from 'vue'
import { ApiError, call, forgetChanges, handleUnauthorized, loadOperations, operation, useCsrfToken, type OperationId, type Schemas } from '../api/client'
import { forgetAll } from '../api/results'
import { forgetTyped } from '../forms/feedback'
import { storePreferences } from '../text/preferences'
import { signInCode } from './signInLink'

type Status = 'loading' | 'unavailable' | 'signed-out' | 'expired' | 'signed-in'

interface State {
  status: Status
  current: Schemas['CurrentSession'] | null
  /** Name of the identity provider with which browsers can sign in. */
  provider: string | null
  /** True while the step-up dialog is open. */
  steppingUp: boolean
}

/** Storage key that is set while the browser may have a session. Otherwise, no request is sent, because it would be recorded as denied. */
const MARKER = 'session'

/** Tells the other tabs that the session was replaced, or ended by the user. */
const tabs = new BroadcastChannel('session')

const state = reactive<State>({ status: 'loading', current: null, provider: null, steppingUp: false })
/** Identifies the user and the roles of the session, also after the session has expired; empty after a sign-out. */
export const identity = ref('')
let finishStepUp: ((signedIn: boolean) => void) | undefined
let pendingStepUp: Promise<boolean> | undefined

export const session = readonly(state)
export const roles = computed(() => state.current?.roles ?? [])
/** True if the user of the session can authenticate again with the identity provider. */
export const hasProvider = computed(() => state.provider !== null && state.current?.session.actor_type === 'person')

/** Returns true if the feature is enabled and a role of the session permits the operation. */
export function may(id: OperationId): boolean {
  return operation(id)?.roles.some((role) => roles.value.includes(role)) ?? false
}

/** Loads the operations and, if the browser may have a session, the session. */
export async function start(): Promise<void> {
  state.status = 'loading'
  try {
    state.provider = await loadOperations()
    if (signInCode.value || localStorage.getItem(MARKER) === null) {
      state.status = 'signed-out'
      return
    }
    begin(await call('show_session'))
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) {
      end('signed-out')
    } else {
      state.status = 'unavailable'
    }
  }
}

/** Starts a session. Throws ApiError. */
export async function signIn(credential: string): Promise<void> {
  const current = await call('sign_in', { credential }).catch((error: unknown) => {
    const isInvalid = error instanceof ApiError && error.status === 401
    throw isInvalid ? new ApiError(401, 'credential', error.detail, error.errors, error.requestId) : error
  })
  begin(current)
  tabs.postMessage('replaced')
}

/** The address that starts a sign-in with the identity provider and then returns to a path. */
export function providerUrl(returnTo: string, isStepUp = false): string {
  return `/sign-in/start?${new URLSearchParams({ return_to: returnTo, ...(isStepUp ? { step_up: '' } : {}) })}`
}

/** Call this function before the browser opens `providerUrl`, because the browser may have a session when it returns. */
export function expectSession(): void {
  localStorage.setItem(MARKER, 'begun')
}

/** Call this function in the tab in which the user confirmed the identity. The tab with the step-up dialog continues. */
export function announceStepUp(): void {
  tabs.postMessage('replaced')
}

export async function signOut(everywhere: boolean): Promise<void> {
  try {
    await (everywhere ? call('end_sessions') : call('end_session', { path: { session: 'current' } }))
  } catch (error) {
    // The session has already ended, for example because the response to an earlier request was lost.
    if (!(error instanceof ApiError && error.status === 401)) {
      throw error
    }
  }
  leave()
}

/** Forgets the session, which has ended. If the user has a session at the identity provider, opens its sign-out page. */
export function leave(): void {
  const signOutAtProvider = hasProvider.value
  end('signed-out')
  tabs.postMessage('ended')
  if (signOutAtProvider) {
    location.assign('/sign-out')
  }
}

/** Opens the step-up dialog, which concurrent requests share. The result is true after a new sign-in, false if the user cancels. */
export function stepUp(): Promise<boolean> {
  state.steppingUp = true
  pendingStepUp ??= new Promise((resolve) => {
    finishStepUp = resolve
  })
  return pendingStepUp
}

export function closeStepUp(signedIn: boolean): void {
  state.steppingUp = false
  finishStepUp?.(signedIn)
  finishStepUp = pendingStepUp = undefined
}

export function end(status: 'signed-out' | 'expired'): void {
  closeStepUp(false)
  useCsrfToken('')
  localStorage.removeItem(MARKER)
  storePreferences()
  if (status === 'signed-out') {
    state.current = null
    identify('')
  }
  state.status = status
}

tabs.onmessage = async ({ data }: MessageEvent<'replaced' | 'ended'>) => {
  if (state.status !== 'signed-in' && state.status !== 'expired') {
    return
  }
  if (data === 'ended') {
    end('signed-out')
  } else {
    begin(await call('show_session'))
    closeStepUp(true)
  }
}

function begin(current: Schemas['CurrentSession']): void {
  useCsrfToken(current.csrf_token)
  localStorage.setItem(MARKER, 'begun')
  identify(JSON.stringify([current.session.actor_type, current.session.actor_id, current.roles]))
  state.current = current
  state.status = 'signed-in'
}

function identify(value: string): void {
  if (identity.value !== value) {
    forgetChanges()
    if (identity.value) {
      forgetAll()
      forgetTyped()
    }
  }
  identity.value = value
}

/** Waits until the user signs in again. The result is false if another user signs in. */
function renewed(): Promise<boolean> {
  const expected = identity.value
  return new Promise((resolve) => {
    const stop = watch(
      () => [state.status, identity.value],
      () => {
        if (state.status === 'signed-in' || identity.value !== expected) {
          stop()
          resolve(identity.value === expected)
        }
      },
      { flush: 'sync' },
    )
  })
}

handleUnauthorized(async (error, method) => {
  // While the user signs in again, requests of the replaced session are denied.
  if (state.status === 'signed-in' && (error.code === 'step_up_required' || state.steppingUp)) {
    return await stepUp()
  }
  if (state.status === 'signed-in') {
    end('expired')
  }
  // The page remains, so its requests continue after the sign-in. Changes do not, because the user may no longer intend them.
  return state.status === 'expired' && method === 'GET' && (await renewed())
})
