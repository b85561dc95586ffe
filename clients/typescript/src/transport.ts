/** Sends HTTP requests for the clients, and reads their responses. */
import { Agent as HttpAgent, request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { ProblemDetail } from "./types.js";

/** Errors of Node.js before a request is sent. */
const NOT_CONNECTED = ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN"];
export const TOO_LATE = "the service did not respond in time";
const RESPONSE_CHARS_MAX = 16 * 1024 * 1024;
const TIMER_MS_MAX = 2 ** 31 - 1; // a longer timer ends at once

/** A request that a service rejected, or to which it did not respond (status 0), from its problem document (RFC 9457). Without the token. */
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

/** Connections to one service, which are reused. */
export class Transport {
  readonly url: string;
  readonly #authorization: Record<string, string>;
  readonly #agent: HttpAgent;
  readonly #request: typeof httpRequest;

  constructor(service: string, url: string, token: string) {
    this.url = baseUrl(service, url);
    this.#authorization = token ? { Authorization: `Bearer ${token}` } : {};
    const isTls = /^https:/i.test(this.url);
    this.#request = isTls ? httpsRequest : httpRequest;
    // The services close idle connections later.
    this.#agent = new (isTls ? HttpsAgent : HttpAgent)({ keepAlive: true, timeout: 4000 });
  }

  /** The response within the time limit. Throws NoResponse. */
  exchange(
    method: string,
    path: string,
    timeoutMs: number,
    content?: Buffer,
    others: Record<string, string> = {},
  ): Promise<Reply> {
    const body = content && { "Content-Type": "application/json", "Content-Length": content.length };
    const options = { method, agent: this.#agent, headers: { ...this.#authorization, ...body, ...others } };
    return new Promise((resolve, reject) => {
      const message = this.#request(this.url + path, options);
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
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
        });
      });
      message.end(content);
    });
  }
}

export interface Reply {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

/** A problem document (RFC 9457). */
export interface Problem {
  code?: string;
  detail?: string;
  request_id?: string;
  errors?: ProblemDetail[];
}

/** There is no response. isUnsent: the request was never sent. */
export class NoResponse extends Error {
  constructor(
    message: string,
    readonly isUnsent = false,
  ) {
    super(message);
  }
}

export function after(ms: number, action: () => void) {
  return setTimeout(action, Math.max(0, Math.min(ms, TIMER_MS_MAX)));
}

/** Retry-After, which can be a date (RFC 9110, section 5.6.7), in seconds. */
export function retryAfterS({ headers }: Reply): number | undefined {
  const text = headers["retry-after"]?.trim() ?? "";
  if (/^\d+$/.test(text)) return Number(text.slice(0, 9));
  const seconds = Math.ceil((Date.parse(/ GMT$/.test(text) ? text : "") - Date.now()) / 1000);
  return Number.isNaN(seconds) ? undefined : Math.max(0, seconds);
}

/** The error of a response that is not successful. body: its problem document, if any. */
export function apiError(service: string, reply: Reply, body: Problem | null): ApiError {
  const missing = `the ${service} returned ${reply.status} without a problem document: check its URL`;
  const { code, request_id, errors } = body ?? {};
  // 405 is the status of another service, or of another version.
  const other = `the ${service} does not have this operation: check its URL`;
  const detail = reply.status === 405 ? other : (body?.detail ?? missing);
  return new ApiError(detail, reply.status, code, request_id, errors, retryAfterS(reply));
}

/** The JSON of a response without the token and the subjects, which a server may repeat. */
export function parsed<T extends object>(text: string, secrets: string[]): T | null {
  const long = secrets.filter((secret) => secret?.length >= 4);
  const forms = long.flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1)]);
  const redacted = (_: string, value: unknown): unknown =>
    typeof value === "string" ? forms.reduce((each, form) => each.replaceAll(form, "..."), value) : value;
  try {
    const value: unknown = JSON.parse(text, redacted);
    return typeof value === "object" ? (value as T | null) : null;
  } catch {
    return null;
  }
}

export function checkPositive<T extends object>(options: T, names: Partial<T>): void {
  for (const name of Object.keys(names) as (keyof T)[]) {
    if (!((options[name] as number) > 0)) throw new TypeError(`${String(name)} must be a positive number`);
  }
}

/** The token without the white space around it, which files have. Throws without its value. */
export function credential(token: string): string {
  const text = String(token).trim();
  if (/^["'`]/.test(text)) throw new TypeError("the token is in quotation marks: remove them");
  if (/[^\x21-\x7e]/.test(text)) throw new TypeError("the token contains a character that is not allowed");
  return text;
}

/** Throws without the value, which may be a credential, or contain one. */
function baseUrl(service: string, address: string): string {
  const text = String(address).trim().replace(/\/+$/, "");
  const url = URL.canParse(text) ? new URL(text) : null;
  const isPlain = url !== null && !url.username && !url.password && !/[?#]/.test(text);
  if (isPlain && /^https?:$/.test(url.protocol) && /^https?:\/\/[^/]/i.test(text)) return text;
  throw new TypeError(
    `the URL of the ${service} must be such as https://${service}.example.com, without a user name, a password, a query and a fragment`,
  );
}
