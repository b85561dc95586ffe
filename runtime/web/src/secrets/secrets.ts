import type { Schemas } from '../api/client'
import { toBase64 } from '../text/bytes'

/** Lifetimes of secrets and of secret requests that the forms offer, in seconds. The API accepts 5 minutes to 30 days. */
export const TTLS = [3600, 14_400, 86_400, 259_200, 604_800, 2_592_000]
export const DEFAULT_TTL = 259_200

/** Number of files of a secret, and their size in total. */
export const FILES_MAX = 10
export const FILES_BYTES_MAX = 4_000_000

export async function contentOf(file: File): Promise<Schemas['NewFile']> {
  const content = toBase64(new Uint8Array(await file.arrayBuffer()))
  return { name: file.name, content_base64: content, ...(file.type ? { media_type: file.type } : {}) }
}
