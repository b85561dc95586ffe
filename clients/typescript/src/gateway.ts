/** Verifies API keys at a gateway. */
import { DecisionCache } from "./cache.js";
import { after, apiError, checkPositive, credential, NoResponse, parsed, retryAfterS, TOO_LATE, Transport, type Problem, type Reply } from "./transport.js";
import { GATEWAY_DEFAULTS, STATUS, type Take, type TakeReply, type VerifyReply, type VerifyRequest } from "./types.js";

const PASSED_ON = ["RateLimit", "RateLimit-Policy", "Retry-After"];

/**
 * The decision on a key. Fields that describe the key are null unless the key is known.
 * `status` is the status for the client, and `headers` are those for the response to it.
 */
export interface Verification extends VerifyReply {
  status: number;
  headers: Record<string, string>;
  /** Why there is no decision, for a log. Can contain the URL of the gateway. */
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
  /**
   * Lifetime of allowed decisions in a cache, at most 60000. A revoked or changed key is accepted for this time
   * after every gateway denies it. A request that is answered from the cache counts against no limit and has no
   * `limits`. Decisions that consume credits, and those on signed requests, are not cached. Default: 0, no cache.
   */
  cacheMs?: number;
}

/** Create one client per process: connections are reused. */
export class GatewayClient {
  readonly url: string;
  readonly #options: Required<Omit<GatewayOptions, "token">>;
  readonly #token: string;
  readonly #transport: Transport;
  readonly #cache: DecisionCache;
  readonly #waiting = new Set<() => void>();
  #inProgress = 0;
  /** When the gateway responded last, of `performance.now`. */
  #respondedAt = 0;

  constructor(gateway: string, options: GatewayOptions = {}) {
    const { token, ...others } = options;
    this.#options = { ...GATEWAY_DEFAULTS, failOpen: false, cacheMs: 0, ...others };
    this.#cache = new DecisionCache(this.#options.cacheMs);
    this.#token = token === undefined ? "" : credential(token);
    this.#transport = new Transport("gateway", gateway, this.#token);
    this.url = this.#transport.url;
    checkPositive(this.#options, GATEWAY_DEFAULTS);
  }

  /**
   * The decision on a key and the request for which it is used. `address` and `method` are those of
   * the client's request; otherwise, restrictions apply to the address of this service, and keys
   * with methods permit every method. White space around the token is removed. Throws ApiError if
   * the request is malformed, or if the URL is not that of a gateway.
   */
  async verify(token: string, request: Omit<VerifyRequest, "token"> = {}): Promise<Verification> {
    token = token.trim();
    const content = { ...request, token };
    const cached = this.#cache.get(content);
    if (cached) return cached;
    const found = await this.#decision("/v1/keys/verify", content, [token], isDecision);
    if ("undecided" in found) return this.#withoutDecision(found);
    const { body, headers } = found;
    if (!body.valid && body.code === "UNAVAILABLE") {
      return this.#withoutDecision({ ...found, undecided: "the gateway could not make a decision" });
    }
    const status = body.valid ? 200 : (STATUS[body.code] ?? 403);
    if (status === 401) headers["WWW-Authenticate"] = challenge(true);
    const decision = { ...body, status, headers };
    this.#cache.put(content, decision);
    return decision;
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
    const body: Body | null = parsed(reply.text, isOk ? [] : [this.#token, ...secrets]);
    if (!isOk) {
      throw apiError("gateway", reply, body);
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
          const reply = await this.exchange(path, content, Math.min(remainingMs, responseTimeoutMs));
          this.#respondedAt = performance.now();
          return reply;
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

  protected exchange(path: string, content: Buffer, timeoutMs: number): Promise<Reply> {
    return this.#transport.exchange("POST", path, timeoutMs, content);
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

/** The header of a response to a client while there is no decision. */
export function retryAfter(seconds = 0): Record<string, string> {
  return { "Retry-After": String(seconds || 1) };
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

interface Body extends Omit<Problem, "code" | "request_id">, Partial<VerifyReply>, Partial<TakeReply> {}
