/** Messages and questions for the user. App.vue displays the messages, and ConsoleFrame.vue the questions. */
import { nextTick, reactive, ref } from 'vue'
import { sentRequests } from '../api/results'
import { t, type MessageKey } from '../text/preferences'

export interface Question {
  title: string
  text: string
  action: string
  danger?: boolean
  /** Ask for a reason, which is recorded in the audit trail. */
  reason?: boolean
  /** Text that the user must type to confirm. */
  confirmation?: string
  /** Label of a box, which is checked at first. */
  choice?: string
  /** The action consists of several requests and ends between two of them when the user cancels it. */
  stoppable?: boolean
  /** The action. If it fails, the dialog shows the error and stays open with the values that the user typed. */
  perform?: (answer: Answer, progress: Progress) => Promise<void>
}

/** How much of an action is done, and whether the user wants to stop it. */
export interface Progress {
  done: number
  total: number
  stopped: boolean
}

export interface Answer {
  reason: string
  confirmation: string
  chosen: boolean
}

export const message = ref('')
export const dialog = reactive<{ question: Question | null }>({ question: null })
/** Parts of the page with values that cannot be shown again and that the user has not stored. */
export const shownOnce = new Set<symbol>()
/** Actions without a response, from the press of the button on. */
export const inProgress = new Set<symbol>()
/** Forms with values that the user typed and that were not sent. */
const typed = new Set<Element>()
const FORMS = '.frame form:not([role=search])'
let submitted: Element | undefined
let finish: ((confirmed: boolean) => void) | undefined

/** Shows a short message and announces it to screen readers. */
export function announce(text: string): void {
  message.value = text
}

/** Asks for confirmation. Resolves to true after the action, or to false if the user cancels. */
export function ask(question: Question): Promise<boolean> {
  finish?.(false)
  dialog.question = question
  return new Promise((resolve) => {
    finish = resolve
  })
}

export function answer(confirmed: boolean): void {
  dialog.question = null
  finish?.(confirmed)
  finish = undefined
}

/** Asks before the user leaves a page with an action in progress, whose result would not be shown, or with values that cannot be shown again. */
export async function mayLeave(): Promise<boolean> {
  const leave = (text: MessageKey): Promise<boolean> => ask({ title: t('once.leaveTitle'), text: t(text), action: t('once.leave'), danger: true })
  if (dialog.question && inProgress.size) {
    return false // The dialog shows the action in progress.
  }
  answer(false) // An open question concerns the page that the user leaves.
  await nextTick()
  if (inProgress.size && !(await leave('once.progressText'))) {
    return false
  }
  if (isTyped() && !(await leave('once.typedText'))) {
    return false
  }
  return shownOnce.size === 0 || (await leave('once.leaveText'))
}

/** The user of the session has changed. */
export function forgetTyped(): void {
  typed.clear()
}

/** The form whose event `submit` is handled now. */
export function submittedForm(): Element | undefined {
  return submitted
}

/** The values of a form were sent. */
export function sent(form: Element | undefined): void {
  if (form) {
    typed.delete(form)
  }
}

/** True if the page contains values that were not sent. The page of an expired session is outside of the document. */
function isTyped(): boolean {
  typed.forEach((form) => form.closest(FORMS) ?? typed.delete(form))
  return typed.size > 0
}

function edit({ target }: Event): void {
  const form = target instanceof Element && target.closest(FORMS)
  if (form) {
    typed.add(form)
  }
}

addEventListener('input', edit)
addEventListener('click', (event) => {
  const target = event.target instanceof Element ? event.target : null
  if (target?.closest('fieldset button')) {
    edit(event) // It adds or removes a row.
  } else if (target?.closest(`${FORMS} a.button`)) {
    sent(target.closest(FORMS) ?? undefined) // It cancels the form.
  }
}, { capture: true })
addEventListener('submit', ({ target }) => (submitted = target as Element), { capture: true })
addEventListener('submit', () => (submitted = undefined))
addEventListener('beforeunload', (event) => {
  if (shownOnce.size || inProgress.size || isTyped() || sentRequests().length) {
    event.preventDefault()
  }
})
