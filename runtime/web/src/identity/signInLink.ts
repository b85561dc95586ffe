/**
 * The code of a sign-in link (POST /v1/sign-in-links), which is in the fragment of the address. main.ts imports this module first, so
 * that the code is removed from the address before the router reads it.
 */
import { ref } from 'vue'

const FRAGMENT = '#sign-in='

/** The code until it is used; empty if the page was not opened with a link. */
export const signInCode = ref('')

if (location.hash.startsWith(FRAGMENT)) {
  signInCode.value = location.hash.slice(FRAGMENT.length)
  history.replaceState(history.state, '', location.pathname + location.search)
}
