/** Messages and questions for the user. App.vue displays the messages, and ConsoleFrame.vue the questions. */
import { reactive, ref } from 'vue'
import { t } from './preferences'

export interface Question {
  title: string
  text: string
  action: string
  danger?: boolean
  /** Ask for a reason, which is recorded in the audit trail. */
  reason?: boolean
  /** Text that the user must type to confirm. */
  confirmation?: string
  /** The action. If it fails, the dialog shows the error and stays open with the values that the user typed. */
  perform?: (answer: Answer) => Promise<void>
}

export interface Answer {
  reason: string
  confirmation: string
}

export const message = ref('')
export const dialog = reactive<{ question: Question | null }>({ question: null })
/** Parts of the page with values that cannot be shown again and that the user has not stored. */
export const shownOnce = new Set<symbol>()
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

/** Asks before the user leaves a page with values that cannot be shown again. */
export async function mayLeave(): Promise<boolean> {
  const question = { title: t('once.leaveTitle'), text: t('once.leaveText'), action: t('once.leave'), danger: true }
  return shownOnce.size === 0 || (await ask(question))
}

addEventListener('beforeunload', (event) => {
  if (shownOnce.size) {
    event.preventDefault()
  }
})
