/** What the middleware of all frameworks has in common. */
import { ApiError, challenge, retryAfter, type GatewayClient, type Verification } from "./gateway.js";

export interface KeyOptions {
  /** Scopes that a key must have. */
  scopes?: readonly string[];
  /** Receives why there is no decision, for which the client gets 503. Default: console.error. */
  onError?: (error: ApiError) => void;
}

export interface KeyRequest {
  /** Identifies the request, which is charged once although several guards decide on it. */
  source: object;
  method: string;
  authorization: readonly string[];
  apiKey: readonly string[];
  address: string | undefined;
}

const OPTIONS: readonly string[] = ["scopes", "onError", "address"];
const decisions = new WeakMap<object, { question: string; decision: Verification }>();
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
  const { scopes = [], onError = (error) => console.error(error.message) } = options;
  return async (request: KeyRequest): Promise<Verification | Denial> => {
    const token = presentedToken(request);
    if (token instanceof Denial) return token;
    const { source, method } = request;
    const address = request.address?.replace(/%.*/, "");
    const isAddress = address !== undefined && /^[0-9a-fA-F.:]+$/.test(address);
    const question = JSON.stringify([gateway.url, token, method, address]);
    const earlier = decisions.get(source);
    const granted = earlier?.question === question ? earlier.decision.scopes : null;
    if (earlier && granted && scopes.every((scope) => granted.includes(scope))) return earlier.decision;
    try {
      const decision = await gateway.verify(token, {
        scopes: [...scopes],
        method,
        cost: earlier ? 0 : 1, // a request that has been allowed is charged
        ...(isAddress ? { address } : {}),
      });
      if (decision.error !== undefined) onError(new ApiError(decision.error, 0, decision.code));
      if (decision.valid) {
        decisions.set(source, { question, decision });
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
  const { scopes = [] }: { scopes?: unknown } = options;
  const isList = Array.isArray(scopes) && scopes.every((scope) => typeof scope === "string");
  if (typeof options === "object" && isList && Object.keys(options).every((name) => OPTIONS.includes(name))) return;
  throw new TypeError(
    "requireKey needs options such as { scopes: ['orders:read'] }; for scopes by path, guard each route: " +
      "see docs/guides/protect-a-service.md",
  );
}

function presentedToken({ authorization, apiKey }: KeyRequest): string | Denial {
  const values = apiKey.map((value) => value.trim());
  for (const value of authorization) {
    const match = /^bearer (.*)$/is.exec(value);
    if (match) values.push((match[1] ?? "").trim());
  }
  const [token = ""] = values;
  if (!values.some(Boolean)) {
    const detail =
      "An API key is required: send it once, as `Authorization: Bearer <key>` or as `X-API-Key: <key>`";
    return new Denial(401, "unauthorized", detail, { "WWW-Authenticate": challenge(false) });
  }
  const ambiguous = authorization.length > 1 || apiKey.length > 1 || new Set(values).size > 1;
  if (ambiguous || token.includes(",")) {
    return new Denial(400, "bad_request", "Send one API key, once.");
  }
  return token;
}
