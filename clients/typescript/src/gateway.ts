/** Verifies API keys at a gateway. */
import type { ProblemDetail, VerifyReply, VerifyRequest } from "./types.js";

/** The status for each code, the same as that of the gateway for requests to Cores. */
export const STATUS: Readonly<Record<VerifyReply["code"], number>> = {
  VALID: 200,
  NOT_FOUND: 401,
  DISABLED: 401,
  EXPIRED: 401,
  SIGNATURE_INVALID: 401,
  USAGE_EXCEEDED: 402,
  FORBIDDEN: 403,
  INSUFFICIENT_PERMISSIONS: 403,
  RATE_LIMITED: 429,
  UNAVAILABLE: 503,
};
const PASSED_ON = ["RateLimit", "RateLimit-Policy", "Retry-After"];

/**
 * The decision on a key. Fields that describe the key are null unless the key is known.
 * `status` is the status for the client, and `headers` are those for the response to it.
 */
export interface Verification extends VerifyReply {
  status: number;
  headers: Record<string, string>;
}

export interface GatewayOptions {
  /** Time until the response, for each attempt. Default: 2000. */
  timeoutMs?: number;
  /** Attempts if the connection is lost. A repeated request can count twice. Default: 2. */
  attempts?: number;
  /**
   * The result while the gateway is unavailable. False (default, fail closed): not valid, with the
   * code UNAVAILABLE, for which middleware returns 503. True: valid, with the code UNAVAILABLE and
   * without a key. Whoever overloads the gateway can then use the service without a key.
   */
  failOpen?: boolean;
  /** For tests. */
  fetch?: typeof fetch;
}

/** A request that the gateway rejected, from its problem document (RFC 9457). Without the token. */
export class ApiError extends Error {
  override name = "ApiError";

  constructor(
    message: string,
    readonly status: number,
    readonly code = "",
    readonly requestId = "",
    readonly errors: ProblemDetail[] = [],
  ) {
    super(message);
  }
}

/** Create one client per process: connections are reused. */
export class GatewayClient {
  readonly #url: string;
  readonly #options: Required<GatewayOptions>;

  constructor(gateway: string, options: GatewayOptions = {}) {
    this.#url = baseUrl(gateway);
    const send: typeof fetch = (...input) => fetch(...input);
    this.#options = { timeoutMs: 2000, attempts: 2, failOpen: false, fetch: send, ...options };
  }

  /**
   * The decision on a key and the request for which it is used. `address` and `method` are those of
   * the client's request; otherwise, restrictions apply to the address of this service, and keys
   * with methods permit every method. White space around the token is removed. Throws ApiError if
   * the request is malformed, or if the URL is not that of a gateway.
   */
  async verify(token: string, request: Omit<VerifyRequest, "token"> = {}): Promise<Verification> {
    token = token.trim();
    let reply: Response;
    let text: string;
    try {
      [reply, text] = await this.#send(JSON.stringify({ ...request, token }));
    } catch {
      return this.#withoutDecision();
    }
    if (reply.status === 429 || reply.status >= 500) return this.#withoutDecision();
    const body = parsed(text, reply.ok ? "" : token);
    if (!reply.ok) {
      throw new ApiError(
        body?.detail ?? `the gateway returned ${reply.status} without a problem document: check its URL`,
        reply.status,
        body?.code,
        body?.request_id,
        body?.errors,
      );
    }
    if (typeof body?.valid !== "boolean" || typeof body.code !== "string") {
      throw new ApiError(`${this.#url} returned an unexpected response: is it a gateway?`, reply.status);
    }
    const decision = body as VerifyReply;
    const status = decision.valid ? 200 : (STATUS[decision.code] ?? 403);
    const headers: Record<string, string> = {};
    for (const name of PASSED_ON) {
      const value = reply.headers.get(name);
      if (value !== null) headers[name] = value;
    }
    if (status === 401) headers["WWW-Authenticate"] = challenge(true);
    return { ...decision, status, headers };
  }

  async #send(body: string): Promise<[Response, string]> {
    for (let attempt = 1; ; attempt++) {
      try {
        const reply = await this.#options.fetch(`${this.#url}/v1/keys/verify`, {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body,
          redirect: "manual", // a redirect must not send the token to another host
          signal: AbortSignal.timeout(this.#options.timeoutMs),
        });
        return [reply, await reply.text()];
      } catch (error) {
        const timedOut = error instanceof Error && error.name === "TimeoutError";
        if (timedOut || attempt >= this.#options.attempts) throw error;
      }
    }
  }

  #withoutDecision(): Verification {
    const valid = this.#options.failOpen;
    return {
      valid,
      code: "UNAVAILABLE",
      status: valid ? 200 : 503,
      headers: valid ? {} : { "Retry-After": "1" },
      reason: null,
      key_id: null,
      name: null,
      owner: null,
      environment: null,
      scopes: null,
      expires_at: null,
      limits: [],
      credits: null,
      staleness_ms: 0,
      decided_at: new Date().toISOString(),
      request_id: "",
    };
  }
}

/** WWW-Authenticate. Without an error if the request had no credential (RFC 6750, section 3). */
export function challenge(invalid: boolean): string {
  return `Bearer realm="gatehouse"${invalid ? ', error="invalid_token"' : ""}`;
}

interface Body extends Partial<VerifyReply> {
  detail?: string;
  errors?: ProblemDetail[];
}

/** The JSON of a response without the token, which a server may repeat. */
function parsed(text: string, token: string): Body | null {
  const escaped = JSON.stringify(token).slice(1, -1);
  const redacted = (_: string, value: unknown): unknown =>
    typeof value === "string" ? value.replaceAll(token, "...").replaceAll(escaped, "...") : value;
  try {
    const value: unknown = JSON.parse(text, token ? redacted : undefined);
    return typeof value === "object" ? (value as Body) : null;
  } catch {
    return null;
  }
}

/** Throws without the value, which may be a credential, or contain one. */
function baseUrl(gateway: string): string {
  const text = String(gateway).trim().replace(/\/+$/, "");
  const url = URL.canParse(text) ? new URL(text) : null;
  const isPlain = url !== null && !url.username && !url.password && !/[?#]/.test(text);
  if (isPlain && /^https?:$/.test(url.protocol) && /^https?:\/\/[^/]/i.test(text)) return text;
  throw new TypeError(
    "the URL of the gateway must be such as https://gateway.example.com, without a user name, a password, a query and a fragment",
  );
}
