/**
 * Retrieval links of secret requests (docs/decisions/0023). The browser creates each link and sends only its public part, so
 * nobody but the requester can open what is submitted. Derivation: docs/sharing-vectors.json, `link_keys`.
 */
import type { Schemas } from '../api/client'
import { encoder, fromBase64, toBase64 } from '../text/bytes'

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const PATH_CHARS = 28
const SECRET_CHARS = 43
/** PKCS #8 of an X25519 private key up to the 32 bytes of the key (RFC 8410, section 7). */
const PKCS8 = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x04, 0x22, 0x04, 0x20]

export interface RetrievalLink {
  /** The public part, which is sent to the console. */
  sent: Schemas['RetrievalLink']
  /** The end of the URL: /s/<path>#<link secret>. */
  suffix: string
}

/** True if the browser supports X25519. Chromium 133, Firefox 130 and Safari 17 do, with HTTPS or on the local machine. */
export async function canCreateLinks(): Promise<boolean> {
  return crypto.subtle?.generateKey('X25519', false, ['deriveBits']).then(
    () => true,
    () => false,
  )
}

export async function createRetrievalLink(): Promise<RetrievalLink> {
  const path = randomText(PATH_CHARS)
  const secret = randomText(SECRET_CHARS)
  const verifier = await derive(secret, path, 'gatehouse link verifier')
  const privateKey = await derive(secret, path, 'gatehouse link key')
  const key = await crypto.subtle.importKey('pkcs8', new Uint8Array([...PKCS8, ...privateKey]), 'X25519', true, ['deriveBits'])
  const { x = '' } = await crypto.subtle.exportKey('jwk', key)
  return { sent: { path, verifier: toBase64(verifier), public_key: toBase64(fromBase64(x)) }, suffix: `/s/${path}#${secret}` }
}

async function derive(material: string, salt: string, info: string): Promise<Uint8Array> {
  const key = await crypto.subtle.importKey('raw', encoder.encode(material), 'HKDF', false, ['deriveBits'])
  const parameters = { name: 'HKDF', hash: 'SHA-256', salt: encoder.encode(salt), info: encoder.encode(info) }
  return new Uint8Array(await crypto.subtle.deriveBits(parameters, key, 256))
}

/** Uniform: bytes from 248 on are discarded, because 248 is the largest multiple of 62 in a byte. */
function randomText(chars: number): string {
  let text = ''
  while (text.length < chars) {
    for (const byte of crypto.getRandomValues(new Uint8Array(64))) {
      if (byte < 248 && text.length < chars) {
        text += ALPHABET[byte % ALPHABET.length]
      }
    }
  }
  return text
}
