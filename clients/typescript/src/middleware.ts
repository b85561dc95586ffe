/** What the middleware of all frameworks has in common. */
import { challenge, retryAfter, type GatewayClient, type Verification } from "./gateway.js";
import { ApiError } from "./transport.js";

export interface KeyOptions {
  /** Scopes that a key must have. */
  scopes?: readonly string[];
  /** Core that the key must be allowed to access. */
  core?: string;
  /**
   * Credits that a request consumes, and the factor by which it counts against each limit. Default: 1.
   * With 0, it counts nothing. A request costs as much as the most expensive of its guards.
   */
  cost?: number;
  /** The only header that is read, such as `X-Partner-Key`. Default: `Authorization` with the scheme Bearer, and `X-API-Key`. */
  keyHeader?: string;
  /** Receives why there is no decision, for which the client gets 503. Default: console.error. */
  onError?: (error: ApiError) => void;
}

export interface KeyRequest {
  /** Identifies the request, which is charged once although several guards decide on it. */
  source: object;
  method: string;
  /** The values of a header, whose name is in lowercase. */
  values(name: string): readonly string[];
  address: string | undefined;
}

const OPTIONS: readonly string[] = ["scopes", "core", "cost", "keyHeader", "onError", "address"];
const AUTHORIZATION = "authorization";
const decisions = new WeakMap<object, Decided>();
/** What is wrong with a request, by the field that the gateway rejects. */
const MALFORMED: Partial<Record<string, string>> = {
  "body.token": "The API key is malformed.",
  "body.method": "The method is not supported.",
};
const TEXTS: Partial<Record<string, string>> = {
  NOT_FOUND: "The API key is unknown",
  DISABLED: "The API key is disabled",
  EXPIRED: "The API key has expired",
  FORBIDDEN: "The API key does not permit this request",
  INSUFFICIENT_PERMISSIONS: "The API key lacks a required scope",
  SIGNATURE_INVALID: "The API key requires signed requests, and the signature is missing or invalid",
  RATE_LIMITED: "A rate limit of the API key is exceeded",
  USAGE_EXCEEDED: "The credits of the API key are used up",
  UNAVAILABLE: "The verification of API keys is temporarily unavailable",
};
const TITLES: Partial<Record<number, string>> = {
  400: "The request is malformed",
  401: "A valid credential is required",
  402: "The credits of the key are used up",
  403: "The credential does not allow this action",
  429: "A rate limit is exceeded",
  503: "A dependency is not available",
};

interface Decided {
  /** The gateway and the key. */
  key: string;
  question: string;
  core: string | undefined;
  /** The cost of the guards that have allowed the request with this key. */
  charged: number;
  decision: Verification;
}

/** The response to a denied request: a problem document (RFC 9457). */
export class Denial {
  readonly headers: Record<string, string>;
  readonly body: string;

  constructor(
    readonly status: number,
    code: string,
    detail: string,
    headers: Record<string, string> = {},
    requestId = "",
  ) {
    const type = `urn:gatehouse:problem:${code.toLowerCase()}`;
    const title = TITLES[status] ?? TITLES[403];
    this.body = JSON.stringify({ type, title, status, detail, code, request_id: requestId });
    const own = { "Content-Type": "application/problem+json", "Cache-Control": "no-store" };
    this.headers = { ...own, ...headers };
  }
}

export function decisionOf(source: object): Verification | undefined {
  return decisions.get(source)?.decision;
}

/** A function that returns the decision on a request, or the response if it is denied. */
export function decider(gateway: GatewayClient, options: KeyOptions) {
  check(options);
  const { scopes = [], core, cost = 1, keyHeader, onError = (error) => console.error(error.message) } = options;
  return async (request: KeyRequest): Promise<Verification | Denial> => {
    const token = presentedToken(request, keyHeader);
    if (token instanceof Denial) return token;
    const { source, method } = request;
    const address = request.address?.replace(/%.*/, "");
    const isAddress = address !== undefined && /^[0-9a-fA-F.:]+$/.test(address);
    const key = JSON.stringify([gateway.url, token]);
    const question = JSON.stringify([key, method, address]);
    const earlier = decisions.get(source);
    const charged = earlier?.key === key ? earlier.charged : 0;
    if (earlier?.question === question && (core === undefined || core === earlier.core) && cost <= charged) {
      const granted = earlier.decision.scopes;
      if (granted && scopes.every((scope) => granted.includes(scope))) return earlier.decision;
    }
    try {
      const decision = await gateway.verify(token, {
        scopes: [...scopes],
        method,
        cost: Math.max(0, cost - charged),
        ...(core === undefined ? {} : { core }),
        ...(isAddress ? { address } : {}),
      });
      if (decision.error !== undefined) onError(new ApiError(decision.error, 0, decision.code));
      if (decision.valid) {
        decisions.set(source, { key, question, core, charged: Math.max(cost, charged), decision });
        return decision;
      }
      const text = TEXTS[decision.code] ?? TEXTS["FORBIDDEN"] ?? "";
      const detail = decision.reason === null ? text : `${text}: ${decision.reason}`;
      return new Denial(decision.status, decision.code, detail, decision.headers, decision.request_id);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const detail = error.errors.map(({ location }) => MALFORMED[location]).find(Boolean);
      if (detail !== undefined) return new Denial(400, error.code, detail, {}, error.requestId);
      onError(error);
      return new Denial(503, "UNAVAILABLE", TEXTS["UNAVAILABLE"] ?? "", retryAfter(error.retryAfterS));
    }
  };
}

/**
 * Throws TypeError, also for a function of the path: a router accepts other spellings of a path
 * than the function would compare.
 */
function check(options: KeyOptions): void {
  const { scopes = [], core = "docs", cost = 1, keyHeader = "x-api-key" }: { [name in keyof KeyOptions]: unknown } = options;
  const isList = Array.isArray(scopes) && scopes.every((scope) => typeof scope === "string");
  if (typeof options !== "object" || !isList || !Object.keys(options).every((name) => OPTIONS.includes(name))) {
    throw new TypeError(
      "requireKey needs options such as { scopes: ['orders:read'] }; for scopes by path, guard each route: " +
        "see docs/guides/protect-a-service.md",
    );
  }
  if (!Number.isInteger(cost) || Number(cost) < 0) throw new TypeError("cost must be an integer that is not negative");
  if (typeof core !== "string" || !core) throw new TypeError("core must be the name of a Core");
  if (typeof keyHeader !== "string" || !/^[A-Za-z0-9-]+$/.test(keyHeader)) {
    throw new TypeError("keyHeader must be the name of a header, such as X-Partner-Key");
  }
}

function presentedToken({ values }: KeyRequest, keyHeader: string | undefined): string | Denial {
  const names = keyHeader === undefined ? ["Authorization", "X-API-Key"] : [keyHeader];
  const bearer = names.filter((name) => name.toLowerCase() === AUTHORIZATION);
  const plain = names.filter((name) => !bearer.includes(name));
  const authorization = bearer.flatMap(() => values(AUTHORIZATION));
  const apiKey = plain.flatMap((name) => values(name.toLowerCase()));
  const tokens = apiKey.map((value) => value.trim());
  for (const value of authorization) {
    const match = /^bearer (.*)$/is.exec(value);
    if (match) tokens.push((match[1] ?? "").trim());
  }
  const [token = ""] = tokens;
  if (!tokens.some(Boolean)) {
    const places = [...bearer.map((name) => `\`${name}: Bearer <key>\``), ...plain.map((name) => `\`${name}: <key>\``)];
    const detail = `An API key is required: send it once, as ${places.join(" or as ")}`;
    return new Denial(401, "unauthorized", detail, { "WWW-Authenticate": challenge(false) });
  }
  const ambiguous = authorization.length > 1 || apiKey.length > 1 || new Set(tokens).size > 1;
  if (ambiguous || token.includes(",")) {
    return new Denial(400, "bad_request", "Send one API key, once.");
  }
  return token;
}
