/**
 * Moves the focus when the control that has it is removed or disabled, which would leave it on `body`. A form that was opened gets it in
 * its first field. When the form is closed, the button that opened it gets it. Otherwise, the next control of the page gets it, or the
 * previous one; while data is loaded, the heading of the page, and then the control that shows the same again.
 */
interface Place {
  path: string
  control: HTMLElement
  form: Element | null
  /** The controls of the page, and the index of this one. */
  controls: HTMLElement[]
  index: number
}

const CONTROLS = 'a[href], button, input, select, textarea, summary, h1, h2[tabindex]'
const FORM = '#main form:not([role=search])'
/** The last focus outside of dialogs, which gets it back when they are closed, and in a dialog. */
let place: Place | undefined
let inDialog: HTMLElement | undefined
/** The place of a control that may appear again, and the control that has the focus until then. */
let missing: { place: Place; substitute: Element | null } | undefined
const openers = new WeakMap<Element, Place>()

/** Starts the observation of the page. */
export function keepFocus(): void {
  addEventListener('focusin', ({ target }) => {
    if (target instanceof HTMLElement && target.closest('dialog')) {
      inDialog = target
    } else if (target instanceof HTMLElement) {
      place = placeOf(target)
    }
  })
  addEventListener('pointerdown', ({ target }) => {
    if (!(target as Element).closest(`${CONTROLS}, label, [tabindex]`)) {
      place = undefined // The user takes the focus away.
    }
  })
  new MutationObserver(restore).observe(document.body, { childList: true, subtree: true, attributeFilter: ['disabled'] })
}

function placeOf(control: HTMLElement): Place {
  const controls = [...document.querySelectorAll<HTMLElement>(CONTROLS)]
  return { path: location.pathname, control, form: control.closest(FORM), controls, index: controls.indexOf(control) }
}

function restore(records: MutationRecord[]): void {
  const current = document.activeElement
  if (missing && (current !== missing.substitute || focusAgain(missing.place, true))) {
    missing = undefined
  }
  const last = place
  const isLost = !current || current === document.body
  // The heading of another page gets the focus in PageHead.vue. A disabled control gets it when it is enabled.
  const { isConnected = false } = last?.control ?? {}
  const dialog = document.querySelector('dialog[open]')
  if (isLost && dialog && !focus(inDialog) && !inDialog?.matches('dialog :disabled')) {
    first([...dialog.querySelectorAll<HTMLElement>(CONTROLS)])
  }
  if (!last || !isLost || last.path !== location.pathname || (isConnected && last.control.matches(':disabled')) || dialog) {
    return
  }
  const opened = isConnected ? undefined : records.flatMap(({ addedNodes }) => [...addedNodes].flatMap(formsIn)).find((form) => form.isConnected)
  const opener = last.form && !last.form.isConnected ? openers.get(last.form) : undefined
  if (opened) {
    openers.set(opened, last)
    first([...opened.querySelectorAll<HTMLElement>('input, select, textarea')])
  } else if (!focus(last.control, true) && !(opener && focusAgain(opener))) {
    const isLoading = document.querySelector('#main [aria-busy=true]') !== null
    const { controls, index } = opener ?? last
    const others = isLoading ? [] : [...controls.slice(index + 1), ...controls.slice(0, Math.max(index, 0)).reverse()]
    first([...others.filter((control) => control.closest('#main')), ...document.querySelectorAll<HTMLElement>('h1')])
    missing = isLoading ? { place: last, substitute: document.activeElement } : undefined
  }
}

function formsIn(node: Node): Element[] {
  return node instanceof Element ? [...(node.matches(FORM) ? [node] : []), ...node.querySelectorAll(FORM)] : []
}

/** Focuses the control that replaces a removed one: of those with the same text, the one at its position. */
function focusAgain({ control, controls }: Place, preventScroll = false): boolean {
  const isSame = (each: HTMLElement): boolean => each.localName === control.localName && each.textContent === control.textContent
  const candidates = [...document.querySelectorAll<HTMLElement>(CONTROLS)].filter(isSame)
  return focus(candidates[controls.filter(isSame).indexOf(control)] ?? candidates[0], preventScroll)
}

function first(controls: HTMLElement[]): boolean {
  return controls.some((control) => focus(control, control.localName === 'h1'))
}

function focus(control: HTMLElement | undefined, preventScroll = false): boolean {
  if (control?.isConnected) {
    control.focus({ preventScroll })
  }
  return control !== undefined && document.activeElement === control
}
