/** The form of a limit for subjects without a key. Converts between the form fields and the request bodies. */
import type { Schemas } from '../api/client'

export interface NamedLimitForm {
  name: string
  description: string
  quota: string | number
  window: number
  burst: string | number
}

export function namedLimitForm(limit?: Schemas['LimitView']): NamedLimitForm {
  const { name = '', description = '', quota = '', window_s: window = 60, burst = '' } = limit ?? {}
  return { name, description, quota, window, burst }
}

export function namedLimitBody(form: NamedLimitForm): Schemas['UpdateLimit'] {
  return {
    description: form.description.trim(),
    quota: Number(form.quota),
    window_s: form.window,
    ...(form.burst !== '' && { burst: Number(form.burst) }),
  }
}

export function newNamedLimit(form: NamedLimitForm): Schemas['CreateLimit'] {
  return { ...namedLimitBody(form), name: form.name.trim() } as Schemas['CreateLimit']
}
