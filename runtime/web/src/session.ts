/** The browser session: sign-in, sign-out, step-up, and the operations that the roles permit. */
import { computed, reactive, readonly } from 'vue'
import { ApiError, call, handleUnauthorized, loadOperations, operation, useCsrfToken, type OperationId, type Schemas } from './api/client'
import { storePreferences } from './preferences'
import { signInCode } from './signInLink'

type Status = 'loading' | 'unavailable' | 'signed-out' | 'expired' | 'signed-in'

interface State {
  status: Status
  current: Schemas['CurrentSession'] | null
  /** True while the step-up dialog is open. */
  steppingUp: boolean
}

/** Storage key that is set while the browser may have a session. Otherwise, no request is sent, because it would be recorded as denied. */
const MARKER = 'session'

const state = reactive<State>({ status: 'loading', current: null, steppingUp: false })
let finishStepUp: ((signedIn: boolean) => void) | undefined

export const session = readonly(state)
export const roles = computed(() => state.current?.roles ?? [])

/** Returns true if the feature is enabled and a role of the session permits the operation. */
export function may(id: OperationId): boolean {
  return operation(id)?.roles.some((role) => roles.value.includes(role)) ?? false
}

/** Loads the operations and, if the browser may have a session, the session. */
export async function start(): Promise<void> {
  state.status = 'loading'
  try {
    await loadOperations()
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
  begin(await call('sign_in', { credential }))
}

export async function signOut(everywhere: boolean): Promise<void> {
  if (everywhere) {
    await call('end_sessions')
  } else {
    await call('end_session', { path: { session: 'current' } })
  }
  end('signed-out')
}

/** Opens the step-up dialog. The result is true after a new sign-in, false if the user cancels. */
export function stepUp(): Promise<boolean> {
  finishStepUp?.(false)
  state.steppingUp = true
  return new Promise((resolve) => {
    finishStepUp = resolve
  })
}

export function closeStepUp(signedIn: boolean): void {
  state.steppingUp = false
  finishStepUp?.(signedIn)
  finishStepUp = undefined
}

export function end(status: 'signed-out' | 'expired'): void {
  closeStepUp(false)
  useCsrfToken('')
  localStorage.removeItem(MARKER)
  storePreferences()
  state.current = null
  state.status = status
}

function begin(current: Schemas['CurrentSession']): void {
  useCsrfToken(current.csrf_token)
  localStorage.setItem(MARKER, 'begun')
  state.current = current
  state.status = 'signed-in'
}

handleUnauthorized(async (error) => {
  if (state.status !== 'signed-in') {
    return false
  }
  if (error.code === 'step_up_required') {
    return await stepUp()
  }
  end('expired')
  return false
})
