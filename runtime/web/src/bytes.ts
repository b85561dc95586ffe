/** Conversions between bytes and text. */

export const encoder = new TextEncoder()

export function toBase64(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) {
    text += String.fromCharCode(byte)
  }
  return btoa(text)
}

/** Accepts base64 and base64url, with white space and with or without padding. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const standard = text.replace(/\s/g, '').replace(/-/g, '+').replace(/_/g, '/')
  return Uint8Array.from(atob(standard), (char) => char.charCodeAt(0))
}
