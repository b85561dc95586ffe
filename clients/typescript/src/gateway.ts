/** Verifies API keys at a gateway. */
import { Agent as HttpAgent, request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { ProblemDetail, Take, TakeReply, VerifyReply, VerifyRequest } from "./types.js";

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
/** Errors of Node.js before a request is sent. */
const NOT_CONNECTED = ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN"];
const TOO_LATE = "the gateway did not respond in time";
const RESPONSE_CHARS_MAX = 1024 * 1024;
const TIMER_MS_MAX = 2 ** 31 - 1; // a longer timer ends at once
const PASSED_ON = ["RateLimit", "RateLimit-Policy", "Retry-After"];

/**
 * The decision on a key. Fields that describe the key are null unless the key is known.
 * `status` is the status for the client, and `headers` are those for the response to it.
 */
export interface Verification extends VerifyReply {
  status: number;
  headers: Record<string, string>;
  /** Why there is no decision, for a log. Contains the URL of the gateway. */
  error?: string;
}

/** The decision on limits for subjects without a key. `headers` and `error`: as for a key. */
export interface Taken extends TakeReply {
  headers: Record<string, string>;
  error?: string;
}

export interface GatewayOptions {
  /** Token of a key with the scope `role:service`, for `take`. */
  token?: string;
  /** Time of a call, with the wait for its turn, in milliseconds. Default: 30000, because of bursts. */
  timeoutMs?: number;
  /**
   * Time from the turn of a request to the last byte of the response. If the gateway responds to no
   * request for this time, those that wait end, too. Default: 2000.
   */
  responseTimeoutMs?: number;
  /** Requests in progress at once. Others wait for their turn. Default: 64. */
  inProgressMax?: number;
  /** Attempts to connect. A request that was sent may have been counted: it is not repeated. Default: 2. */
  attempts?: number;
  /**
   * The result if the gateway makes no decision: it cannot be reached, responds too late, with 408, 429 or
   * 5xx, or not with a decision. False (default, fail closed): not valid, with the code UNAVAILABLE, for
   * which middleware returns 503. True: valid, with the code UNAVAILABLE and without a key. Whoever
   * overloads the gateway can then use the service without a key.
   */
  failOpen?: boolean;
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
    readonly retryAfterS?: number,
  ) {
    super([message, ...errors.map((each) => `${each.location} ${each.message}.`)].join(" "));
  }
}

/** Create one client per process: connections are reused. */
export class GatewayClient {
  readonly url: string;
  readonly #options: Required<Omit<GatewayOptions, "token">>;
  readonly #token: string;
  readonly #agent: HttpAgent;
  readonly #waiting = new Set<() => void>();
  #inProgress = 0;
  /** When the gateway responded last, of `performance.now`. */
  #respondedAt = 0;

  constructor(gateway: string, options: GatewayOptions = {}) {
    this.url = baseUrl(gateway);
    const limits = { timeoutMs: 30_000, responseTimeoutMs: 2000, inProgressMax: 64, attempts: 2 };
    const { token = "", ...others } = options;
    this.#options = { ...limits, failOpen: false, ...others };
    this.#token = token.trim();
    if (/[^\x21-\x7e]/.test(this.#token)) throw new TypeError("the token contains a character that is not allowed");
    for (const name of Object.keys(limits) as (keyof typeof limits)[]) {
      if (!(this.#options[name] > 0)) throw new TypeError(`${name} must be a positive number`);
    }
    // The gateway closes idle connections later.
    this.#agent = new (this.#isTls ? HttpsAgent : HttpAgent)({ keepAlive: true, timeout: 4000 });
  }

  /**
   * The decision on a key and the request for which it is used. `address` and `method` are those of
   * the client's request; otherwise, restrictions apply to the address of this service, and keys
   * with methods permit every method. White space around the token is removed. Throws ApiError if
   * the request is malformed, or if the URL is not that of a gateway.
   */
  async verify(token: string, request: Omit<VerifyRequest, "token"> = {}): Promise<Verification> {
    token = token.trim();
    const found = await this.#decision("/v1/keys/verify", { ...request, token }, [token], isDecision);
    if ("undecided" in found) return this.#withoutDecision(found);
    const { body, headers } = found;
    if (!body.valid && body.code === "UNAVAILABLE") {
      return this.#withoutDecision({ ...found, undecided: "the gateway could not make a decision" });
    }
    const status = body.valid ? 200 : (STATUS[body.code] ?? 403);
    if (status === 401) headers["WWW-Authenticate"] = challenge(true);
    return { ...body, status, headers };
  }

  /**
   * Counts units of a limit for a subject without a key, such as a user or an address. `dryRun` counts
   * nothing. Throws ApiError if no limit has the name, or if the token is missing or lacks `role:service`.
   */
  async take(limit: string, subject: string, { cost = 1, dryRun = false } = {}): Promise<Taken> {
    return this.takeAll([{ limit, subject, cost }], { dryRun });
  }

  /** As `take`, for several limits. If one of them is exceeded, nothing is counted. */
  async takeAll(takes: Take[], { dryRun = false } = {}): Promise<Taken> {
    const subjects = takes.map(({ subject }) => subject);
    const found = await this.#decision("/v1/limits/take", { takes, dry_run: dryRun }, subjects, isTaken);
    if (!("undecided" in found)) return { ...found.body, headers: found.headers };
    const allowed = this.#options.failOpen;
    return {
      allowed,
      limits: [],
      request_id: found.body?.request_id ?? "",
      headers: allowed ? {} : retryAfter(found.retryAfterS),
      error: found.undecided,
    };
  }

  /** The decision in the response to a request, or why there is none. Throws the ApiError of the request. */
  async #decision<T extends Body>(
    path: string,
    request: object,
    secrets: string[],
    isExpected: (body: Body | null) => body is T,
  ): Promise<Decision<T> | NoDecision> {
    const content = Buffer.from(JSON.stringify(request));
    let reply: Reply;
    try {
      reply = await this.#send(path, content);
    } catch (error) {
      if (error instanceof NoResponse) return { undecided: `${this.url}: ${error.message}` };
      throw error;
    }
    const { status: httpStatus } = reply;
    const isOk = httpStatus >= 200 && httpStatus < 300;
    if (httpStatus === 408 || httpStatus === 429 || httpStatus < 200 || httpStatus >= 500) {
      return { undecided: `${this.url} returned ${httpStatus}`, retryAfterS: retryAfterS(reply) };
    }
    const body = parsed(reply.text, isOk ? [] : [this.#token, ...secrets]);
    if (!isOk) {
      throw new ApiError(
        body?.detail ?? `the gateway returned ${httpStatus} without a problem document: check its URL`,
        httpStatus,
        body?.code,
        body?.request_id,
        body?.errors,
        retryAfterS(reply),
      );
    }
    if (!isExpected(body)) {
      const undecided = `${this.url} returned an unexpected response: is it a gateway?`;
      return { undecided, retryAfterS: retryAfterS(reply) };
    }
    const headers: Record<string, string> = {};
    for (const name of PASSED_ON) {
      const value = reply.headers[name.toLowerCase()];
      if (typeof value === "string") headers[name] = value;
    }
    return { body, headers, retryAfterS: retryAfterS(reply) };
  }

  get #isTls(): boolean {
    return /^https:/i.test(this.url);
  }

  async #send(path: string, content: Buffer): Promise<Reply> {
    const { timeoutMs, responseTimeoutMs, attempts } = this.#options;
    const start = performance.now();
    await this.#turn();
    try {
      // A gateway that does not respond takes no more requests from the queue.
      const silentMs = performance.now() - Math.max(start, this.#respondedAt);
      if (silentMs > responseTimeoutMs) throw new NoResponse(TOO_LATE);
      for (let attempt = 1; ; attempt++) {
        const remainingMs = start + timeoutMs - performance.now();
        try {
          return await this.#exchange(path, content, Math.min(remainingMs, responseTimeoutMs));
        } catch (error) {
          if (!(error instanceof NoResponse && error.isUnsent) || attempt >= attempts) throw error;
        }
      }
    } finally {
      const [next] = this.#waiting;
      if (next) next();
      else this.#inProgress--;
    }
  }

  /** Waits until the request can be sent. */
  async #turn(): Promise<void> {
    if (this.#inProgress < this.#options.inProgressMax) {
      this.#inProgress++;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const end = (action: () => void) => () => (this.#waiting.delete(next), clearTimeout(timer), action());
      const next = end(resolve);
      const timer = after(this.#options.timeoutMs, end(() => reject(new NoResponse(TOO_LATE))));
      this.#waiting.add(next);
    });
  }

  #exchange(path: string, content: Buffer, timeoutMs: number): Promise<Reply> {
    const headers: Record<string, string | number> = {
      "Content-Type": "application/json",
      "Content-Length": content.length,
    };
    if (this.#token) headers.Authorization = `Bearer ${this.#token}`;
    const options = { method: "POST", agent: this.#agent, headers };
    return new Promise((resolve, reject) => {
      const message = (this.#isTls ? httpsRequest : httpRequest)(this.url + path, options);
      const fail = (text: string, isUnsent = false) => (reject(new NoResponse(text, isUnsent)), message.destroy());
      // Data that has arrived while the program was busy is received first.
      const timer = after(timeoutMs, () => setImmediate(() => fail(TOO_LATE)));
      message.on("error", (error: { code?: string }) => {
        const code = error.code ?? "";
        fail(`the request failed (${code || "no response"})`, NOT_CONNECTED.includes(code));
      });
      message.on("close", () => (clearTimeout(timer), reject(new NoResponse("the connection was closed"))));
      message.on("response", (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (part: string) => {
          text += part;
          if (text.length > RESPONSE_CHARS_MAX) fail("the response is too large");
        });
        response.on("error", () => fail("the connection was lost"));
        response.on("end", () => {
          this.#respondedAt = performance.now();
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
        });
      });
      message.end(content);
    });
  }

  #withoutDecision({ undecided, retryAfterS, body }: NoDecision): Verification {
    const valid = this.#options.failOpen;
    return {
      valid,
      code: "UNAVAILABLE",
      status: valid ? 200 : 503,
      headers: valid ? {} : retryAfter(retryAfterS),
      error: undecided,
      reason: null,
      key_id: null,
      name: null,
      customer_id: null,
      environment: null,
      scopes: null,
      expires_at: null,
      limits: [],
      credits: null,
      shared_credits: null,
      staleness_ms: 0,
      decided_at: new Date().toISOString(),
      request_id: body?.request_id ?? "",
    };
  }
}

interface Reply {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

interface Decision<T> {
  body: T;
  headers: Record<string, string>;
  retryAfterS: number | undefined;
}

/** Why there is no decision. */
interface NoDecision {
  undecided: string;
  retryAfterS?: number | undefined;
  body?: Body;
}

/** There is no response. isUnsent: the request was never sent. */
class NoResponse extends Error {
  constructor(
    message: string,
    readonly isUnsent = false,
  ) {
    super(message);
  }
}

function after(ms: number, action: () => void) {
  return setTimeout(action, Math.max(0, Math.min(ms, TIMER_MS_MAX)));
}

/** The header of a response to a client while there is no decision. */
export function retryAfter(seconds = 0): Record<string, string> {
  return { "Retry-After": String(seconds || 1) };
}

/** Retry-After, which can be a date (RFC 9110, section 5.6.7), in seconds. */
function retryAfterS({ headers }: Reply): number | undefined {
  const text = headers["retry-after"]?.trim() ?? "";
  if (/^\d+$/.test(text)) return Number(text.slice(0, 9));
  const seconds = Math.ceil((Date.parse(/ GMT$/.test(text) ? text : "") - Date.now()) / 1000);
  return Number.isNaN(seconds) ? undefined : Math.max(0, seconds);
}

function isDecision(body: Body | null): body is VerifyReply {
  return (
    typeof body?.valid === "boolean" &&
    typeof body.code === "string" &&
    typeof body.request_id === "string" &&
    Array.isArray(body.limits)
  );
}

function isTaken(body: Body | null): body is TakeReply {
  return typeof body?.allowed === "boolean" && Array.isArray(body.limits);
}

/** WWW-Authenticate. Without an error if the request had no credential (RFC 6750, section 3). */
export function challenge(invalid: boolean): string {
  return `Bearer realm="gatehouse"${invalid ? ', error="invalid_token"' : ""}`;
}

interface Body extends Partial<VerifyReply>, Partial<TakeReply> {
  detail?: string;
  errors?: ProblemDetail[];
}

/** The JSON of a response without the token and the subjects, which a server may repeat. */
function parsed(text: string, secrets: string[]): Body | null {
  const long = secrets.filter((secret) => secret?.length >= 4);
  const forms = long.flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1)]);
  const redacted = (_: string, value: unknown): unknown =>
    typeof value === "string" ? forms.reduce((each, form) => each.replaceAll(form, "..."), value) : value;
  try {
    const value: unknown = JSON.parse(text, redacted);
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
