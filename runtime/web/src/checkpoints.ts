/** Verifies the signatures of checkpoints in the browser. docs/guides/operate.md describes the signed bytes. */
import type { Schemas } from './api/client'
import { encoder, fromBase64 } from './bytes'

type Checkpoint = Schemas['CheckpointView']

const ED25519 = 'ed25519'
const P256 = { name: 'ECDSA', namedCurve: 'P-256' }
const INTEGER_BYTES = 32

/** Public keys of a PEM text by algorithm. Blocks of other keys are ignored. */
export async function readKeys(pem: string): Promise<CryptoKey[]> {
  const keys: CryptoKey[] = []
  for (const [, body = ''] of pem.matchAll(/-----BEGIN PUBLIC KEY-----([\sA-Za-z0-9+/=]+)-----END PUBLIC KEY-----/g)) {
    for (const algorithm of ['Ed25519', P256]) {
      try {
        keys.push(await crypto.subtle.importKey('spki', fromBase64(body), algorithm, false, ['verify']))
      } catch {
        continue
      }
    }
  }
  return keys
}

/** True if one of the keys verifies the signature. */
export async function isSigned(checkpoint: Checkpoint, keys: CryptoKey[]): Promise<boolean> {
  const message = signedBytes(checkpoint)
  const signature = fromBase64(checkpoint.signature)
  for (const key of keys) {
    const edwards = key.algorithm.name === 'Ed25519'
    if (edwards !== (checkpoint.algorithm === ED25519)) {
      continue
    }
    const parameters = edwards ? 'Ed25519' : { name: 'ECDSA', hash: 'SHA-256' }
    if (await crypto.subtle.verify(parameters, key, edwards ? signature : fromDer(signature), message)) {
      return true
    }
  }
  return false
}

function signedBytes(checkpoint: Checkpoint): Uint8Array<ArrayBuffer> {
  const hash = Uint8Array.from(checkpoint.hash.match(/../g) ?? [], (pair) => parseInt(pair, 16))
  const parts = [encoder.encode('gatehouse-checkpoint-1\0'), integer(BigInt(checkpoint.seq)), hash, integer(microseconds(checkpoint.taken_at))]
  for (const text of [checkpoint.key_id, checkpoint.algorithm]) {
    const encoded = encoder.encode(text)
    parts.push(integer(BigInt(encoded.length)).slice(4), encoded)
  }
  return Uint8Array.from(parts.flatMap((part) => [...part]))
}

function integer(value: bigint): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigInt64(0, value)
  return bytes
}

/** Microseconds since 1970. Dates of JavaScript have milliseconds only. */
function microseconds(instant: string): bigint {
  const [, fraction = ''] = /\.(\d+)/.exec(instant) ?? []
  const seconds = Date.parse(instant.replace(/\.\d+/, '')) / 1000
  return BigInt(seconds) * 1_000_000n + BigInt(fraction.slice(0, 6).padEnd(6, '0'))
}

/** The signature in the form that browsers verify: two integers of 32 bytes (IEEE P1363). AWS KMS signs in the form ASN.1 DER. */
function fromDer(der: Uint8Array): Uint8Array<ArrayBuffer> {
  const signature = new Uint8Array(2 * INTEGER_BYTES)
  let position = 2
  for (const end of [INTEGER_BYTES, 2 * INTEGER_BYTES]) {
    const length = der[position + 1] ?? 0
    const value = der.slice(position + 2, position + 2 + length).slice(-INTEGER_BYTES)
    signature.set(value, end - value.length)
    position += 2 + length
  }
  return signature
}
