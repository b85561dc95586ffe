/** What the middleware of all frameworks has in common. */
import { ApiError, challenge, type GatewayClient, type Verification } from "./gateway.js";

/** The scopes that a request needs, the same for all or by its method and path. Null: no key. */
export type Scopes = readonly string[] | ((method: string, path: string) => readonly string[] | null);

export interface KeyOptions {
  scopes?: Scopes;
  /** Receives an error of the configuration, for which the client gets 503. Default: console.error. */
  onError?: (error: ApiError) => void;
}

export interface KeyRequest {
  method: string;
  path: string;
  authorization: readonly string[];
  apiKey: readonly string[];
  address: string | undefined;
}

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

/** The decision on a request, null if it needs no key, or the response if it is denied. */
export async function decide(
  gateway: GatewayClient,
  options: KeyOptions,
  request: KeyRequest,
): Promise<Verification | Denial | null> {
  const { scopes: needed = [], onError = (error) => console.error(error.message) } = options;
  const scopes = typeof needed === "function" ? needed(request.method, request.path) : needed;
  if (scopes === null) return null;
  const token = presentedToken(request);
  if (token instanceof Denial) return token;
  const address = request.address?.replace(/%.*/, "");
  const isAddress = address !== undefined && /^[0-9a-fA-F.:]+$/.test(address);
  try {
    const decision = await gateway.verify(token, {
      scopes: [...scopes],
      method: request.method,
      ...(isAddress ? { address } : {}),
    });
    if (decision.valid) return decision;
    const text = TEXTS[decision.code] ?? TEXTS["FORBIDDEN"] ?? "";
    const detail = decision.reason === null ? text : `${text}: ${decision.reason}`;
    return new Denial(decision.status, decision.code, detail, decision.headers, decision.request_id);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.errors.some((problem) => problem.location === "body.token")) {
      return new Denial(400, error.code, "The API key is malformed.", {}, error.requestId);
    }
    onError(error);
    return new Denial(503, "UNAVAILABLE", TEXTS["UNAVAILABLE"] ?? "", { "Retry-After": "1" });
  }
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
