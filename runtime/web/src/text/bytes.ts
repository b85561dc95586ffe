/** Conversions between bytes and text, and files. */

export const encoder = new TextEncoder()

/** Offers a text as a file. */
export function download(name: string, text: string, type = 'text/plain'): void {
  const url = URL.createObjectURL(new Blob([text], { type }))
  const anchor = document.createElement('a')
  anchor.href = url
  anchor.download = name
  anchor.click()
  URL.revokeObjectURL(url)
}

/** Number of arguments that all browsers accept. */
const PART = 32_768

export function toBase64(bytes: Uint8Array): string {
  let text = ''
  for (let start = 0; start < bytes.length; start += PART) {
    text += String.fromCharCode(...bytes.subarray(start, start + PART))
  }
  return btoa(text)
}

/** Accepts base64 and base64url, with white space and with or without padding. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const standard = text.replace(/\s/g, '').replace(/-/g, '+').replace(/_/g, '/')
  return Uint8Array.from(atob(standard), (char) => char.charCodeAt(0))
}
