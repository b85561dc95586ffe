/** Signs requests (RFC 9421, Ed25519) for keys that require signatures. */
import { createHash, createPrivateKey, randomBytes, sign as signBytes, type KeyObject } from "node:crypto";

/** The end of a token: the ID of the key, a secret and a checksum. */
const BODY_CHARS = 61;
const ID_CHARS = 12;

export interface SigningOptions {
  token: string;
  /** An Ed25519 key in PEM format without a passphrase. */
  privateKey: string;
  body?: string | Uint8Array;
  /** When the signature is created, in Unix seconds. Default: now. */
  now?: number;
  /** 16 to 128 characters, unique for each request. Default: random. */
  nonce?: string;
}

/**
 * The headers to add: `signature-input`, `signature` and, with a body, `content-digest`. `url` is absolute. A
 * redirected request needs a new signature. Throws TypeError for a malformed token, private key, method, URL or
 * nonce, without its value.
 *
 *     await fetch(url, { headers: { authorization: `Bearer ${token}`, ...sign("GET", url, { token, privateKey }) } });
 */
export function sign(method: string, url: string, options: SigningOptions): Record<string, string> {
  const { body = "", now = Date.now() / 1000, nonce = randomBytes(16).toString("base64url") } = options;
  for (const [name, text] of Object.entries({ method, nonce })) {
    if (!/^[ !#-[\]-~]+$/.test(text)) throw new TypeError(`the ${name} contains a character that is not allowed`);
  }
  const digest = createHash("sha256").update(body).digest("base64"); // RFC 9530
  const fields: Record<string, string> = body.length ? { "content-digest": `sha-256=:${digest}:` } : {};
  const covered = { "@method": method.toUpperCase(), "@target-uri": target(url), ...fields };
  const names = Object.keys(covered).map((name) => `"${name}"`);
  const keyId = idOf(options.token);
  const parameters = `(${names.join(" ")});created=${Math.floor(now)};nonce="${nonce}";keyid="${keyId}";tag="gatehouse"`;
  const lines = Object.entries(covered).map(([name, value]) => `"${name}": ${value}`);
  const base = [...lines, `"@signature-params": ${parameters}`].join("\n");
  const signature = signBytes(null, Buffer.from(base), keyOf(options.privateKey)).toString("base64");
  return { ...fields, "signature-input": `gatehouse=${parameters}`, signature: `gatehouse=:${signature}:` };
}

/** The URL as `fetch` and `node:http` send it (RFC 9421, section 2.2.3). */
function target(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url && /^https?:$/.test(url.protocol) && !url.username && !url.password) return url.origin + url.pathname + url.search;
  throw new TypeError("the request cannot be signed: the URL must be absolute, without a user name and a password");
}

function keyOf(text: string): KeyObject {
  try {
    const key = createPrivateKey(text.trim());
    if (key.asymmetricKeyType === "ed25519") return key;
  } catch {
    // The error may contain the text.
  }
  throw new TypeError("the private key is not an Ed25519 key in PEM format without a passphrase");
}

function idOf(token: string): string {
  const body = token.trim().split("_").at(-1) ?? "";
  if (body.length !== BODY_CHARS) throw new TypeError("the token is not a Gatehouse API key");
  return body.slice(0, ID_CHARS);
}
