/** What a user pasted into a search: a secret must not reach the address, the history or the query of a request. */

/** The token of an API key, also if its end is missing. The first 12 characters after the environment are the key ID. */
const TOKEN = /_(?:live|test)_([0-9A-Za-z]{12})[0-9A-Za-z]/
/** The token of an API key that is complete after spaces, line breaks and quotation marks were removed. */
const WRAPPED_TOKEN = /_(?:live|test)_([0-9A-Za-z]{12})[0-9A-Za-z]{49}/
/** The bootstrap token, and the secret part of a link. */
const OTHER_SECRET = /_admin_[0-9A-Za-z]{20}|(?:#|%23)(?:sign-in=)?[0-9A-Za-z]{20}/
/** The parts of names, IDs, tags and e-mail addresses are shorter. */
const PART_CHARS_MAX = 24
/** Lengths of the tokens of imported keys. */
const IMPORTED_CHARS_MIN = 8
const IMPORTED_CHARS_MAX = 512

export interface Pasted {
  /** ID of the key whose token was recognized. */
  keyId?: string
  /** Text that can be the token of an imported key. Only the console can tell. */
  token?: string
  /** True for text that can be part of an address: it is too short, or too plain, for a secret. */
  plain: boolean
}

export function recognize(text: string): Pasted {
  const credential = text.replace(/^[\s"'`]*(?:authorization\s*:\s*)?(?:bearer\s+)?/i, '').replace(/[\s"'`,;]+$|[\s"'`\\]+/g, '')
  const keyId = (TOKEN.exec(text) ?? WRAPPED_TOKEN.exec(credential))?.[1]
  if (keyId !== undefined) {
    return { keyId, plain: false }
  }
  if (OTHER_SECRET.test(credential)) {
    return { plain: false }
  }
  return {
    ...(credential.length >= IMPORTED_CHARS_MIN && credential.length <= IMPORTED_CHARS_MAX && { token: credential }),
    plain: text.split(/[^\p{L}\p{N}]+/u).every((part) => part.length <= PART_CHARS_MAX),
  }
}
