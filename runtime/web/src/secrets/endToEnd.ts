/** End-to-end encryption of text, in the format of runtime/gatehouse/commands/cli/end_to_end.py. */
import { encoder, toBase64 } from '../text/bytes'

const NONCE_BYTES = 12
const ASSOCIATED_DATA = 'gatehouse-e2e-v1'

export interface EncryptedText {
  ciphertext: string
  /** The key, which is appended to a link after a dot. It is never sent to a server. */
  key: string
}

export async function encryptText(text: string): Promise<EncryptedText> {
  const key = await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, true, ['encrypt'])
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES))
  const parameters = { name: 'AES-GCM', iv: nonce, additionalData: encoder.encode(ASSOCIATED_DATA) }
  const encrypted = new Uint8Array(await crypto.subtle.encrypt(parameters, key, encoder.encode(text)))
  const raw = new Uint8Array(await crypto.subtle.exportKey('raw', key))
  const encodedKey = toBase64(raw).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '')
  return { ciphertext: toBase64(new Uint8Array([...nonce, ...encrypted])), key: encodedKey }
}
