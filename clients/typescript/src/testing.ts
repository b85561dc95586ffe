/** A gateway for tests, which makes decisions without a network. */
import { GatewayClient, type GatewayOptions } from "./gateway.js";
import { NoResponse, type Reply } from "./transport.js";
import type { Take, VerifyReply, VerifyRequest } from "./types.js";

export interface FakeKey {
  scopes?: string[];
  customer_id?: string;
  /** The remaining credits, which requests consume. Default: requests consume none. */
  credits?: number;
  /** Cores and methods that the key can be used for. Default: all. */
  cores?: string[];
  methods?: string[];
  /** The code of every decision, such as `RATE_LIMITED`. */
  code?: VerifyReply["code"];
}

/**
 * Has the keys of a table, by their tokens; other tokens are unknown. `limits` has the units of each limit that
 * subjects can take. Pass it to the service, or replace methods of its client: `gateway.verify = fake.verify.bind(fake)`.
 */
export class FakeGateway extends GatewayClient {
  /** The verification requests so far. */
  readonly requests: VerifyRequest[] = [];
  /** True: there is no decision, as if the gateway were down. */
  isDown = false;
  readonly #used = new Map<string, number>();

  constructor(
    readonly keys: Record<string, FakeKey>,
    readonly limits: Record<string, number> = {},
    options: GatewayOptions = {},
  ) {
    super("http://gateway.invalid", options);
  }

  protected override async exchange(path: string, content: Buffer): Promise<Reply> {
    if (this.isDown) throw new NoResponse("the fake gateway is down");
    const body = JSON.parse(content.toString()) as VerifyRequest & { takes: Take[]; dry_run: boolean };
    return path === "/v1/limits/take" ? this.#take(body.takes, body.dry_run) : this.#verify(body);
  }

  #verify(request: VerifyRequest): Reply {
    this.requests.push(request);
    const key = this.keys[request.token];
    const { cost = 1 } = request;
    const code = key ? decide(key, request, cost) : "NOT_FOUND";
    if (key?.credits !== undefined && code === "VALID") key.credits -= cost;
    const { scopes = [], customer_id = null, credits } = key ?? {};
    const hasCredits = credits !== undefined && (code === "VALID" || code === "USAGE_EXCEEDED");
    const decision: VerifyReply = {
      valid: code === "VALID",
      code,
      reason: null,
      key_id: key ? "fake" : null,
      name: key ? "fake" : null,
      customer_id,
      environment: key ? "test" : null,
      scopes: key ? scopes : null,
      expires_at: null,
      limits: [],
      credits: hasCredits ? { remaining: credits, exceeded: code === "USAGE_EXCEEDED", refills_at: null } : null,
      shared_credits: null,
      staleness_ms: 0,
      decided_at: new Date().toISOString(),
      request_id: "req_fake",
    };
    return reply(200, decision, code === "RATE_LIMITED");
  }

  #take(takes: Take[], isDryRun: boolean): Reply {
    const missing = takes.find(({ limit }) => this.limits[limit] === undefined);
    if (missing) return reply(404, { code: "not_found", detail: `No limit has the name ${missing.limit}.` });
    const id = ({ limit, subject }: Take) => JSON.stringify([limit, subject]);
    const states = takes.map((take) => {
      const limit = this.limits[take.limit] ?? 0;
      const remaining = limit - (this.#used.get(id(take)) ?? 0);
      const exceeded = (take.cost ?? 1) > remaining;
      return { name: take.limit, limit, window_s: 60, remaining, reset_s: 60, exceeded, degraded: false };
    });
    const allowed = states.every(({ exceeded }) => !exceeded);
    if (allowed && !isDryRun) {
      for (const take of takes) this.#used.set(id(take), (this.#used.get(id(take)) ?? 0) + (take.cost ?? 1));
      takes.forEach(({ cost = 1 }, index) => (states[index]!.remaining -= cost));
    }
    return reply(200, { allowed, limits: states, request_id: "req_fake" }, !allowed);
  }
}

/** In the order of the gateway. */
function decide(key: FakeKey, request: VerifyRequest, cost: number): VerifyReply["code"] {
  const permits = (values: string[] | undefined, value: string | null | undefined) => !value || !values || values.includes(value);
  if (key.code) return key.code;
  if (!permits(key.cores, request.core) || !permits(key.methods, request.method)) return "FORBIDDEN";
  if (!(request.scopes ?? []).every((scope) => key.scopes?.includes(scope))) return "INSUFFICIENT_PERMISSIONS";
  return key.credits !== undefined && cost > key.credits ? "USAGE_EXCEEDED" : "VALID";
}

function reply(status: number, body: object, isLimited = false): Reply {
  return { status, headers: isLimited ? { "retry-after": "1" } : {}, text: JSON.stringify(body) };
}
