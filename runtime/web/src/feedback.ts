/** Messages and questions for the user. App.vue displays them. */
import { reactive, ref } from 'vue'

export interface Question {
  title: string
  text: string
  action: string
  danger?: boolean
  /** Ask for a reason, which is recorded in the audit trail. */
  reason?: boolean
  /** Text that the user must type to confirm. */
  confirmation?: string
}

export interface Answer {
  reason: string
  confirmation: string
}

export const message = ref('')
export const dialog = reactive<{ question: Question | null }>({ question: null })
let finish: ((answer: Answer | null) => void) | undefined

/** Shows a short message and announces it to screen readers. */
export function announce(text: string): void {
  message.value = text
}

/** Asks for confirmation. Resolves to null if the user cancels. */
export function ask(question: Question): Promise<Answer | null> {
  finish?.(null)
  dialog.question = question
  return new Promise((resolve) => {
    finish = resolve
  })
}

export function answer(value: Answer | null): void {
  dialog.question = null
  finish?.(value)
  finish = undefined
}
