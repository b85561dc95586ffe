/** Allowed decisions that the client of the gateway keeps for a short time. */
import { createHash } from "node:crypto";
import type { Verification } from "./gateway.js";
import type { VerifyRequest } from "./types.js";

const LIFETIME_MS_MAX = 60_000;
const ENTRIES_MAX = 10_000;

interface Entry {
  decision: Verification;
  decidedAt: number;
  expiresAt: number;
}

/** Contains no token. */
export class DecisionCache {
  readonly #entries = new Map<string, Entry>();

  constructor(readonly lifetimeMs: number) {
    if (!(lifetimeMs >= 0 && lifetimeMs <= LIFETIME_MS_MAX)) {
      throw new TypeError(`cacheMs must be a number from 0 to ${LIFETIME_MS_MAX}`);
    }
  }

  /** The decision on an equal request. Its staleness has the time in the cache. */
  get(request: VerifyRequest): Verification | undefined {
    if (this.lifetimeMs === 0) return undefined;
    const entry = this.#entries.get(digest(request));
    const now = Date.now();
    if (!entry || now < entry.decidedAt || now >= entry.expiresAt) return undefined;
    const { decision, decidedAt } = entry;
    return { ...decision, limits: [], headers: {}, staleness_ms: decision.staleness_ms + now - decidedAt };
  }

  put(request: VerifyRequest, decision: Verification): void {
    const consumesCredits = request.cost !== 0 && (decision.credits !== null || decision.shared_credits !== null);
    const isAllowed = decision.valid && decision.code === "VALID";
    if (this.lifetimeMs === 0 || !isAllowed || consumesCredits || request.request) return;
    const key = digest(request);
    const decidedAt = Date.now();
    const end = decision.expires_at === null ? Infinity : Date.parse(decision.expires_at);
    this.#entries.delete(key); // an entry that is replaced becomes the last
    this.#entries.set(key, { decision, decidedAt, expiresAt: Math.min(end, decidedAt + this.lifetimeMs) });
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > ENTRIES_MAX && oldest !== undefined) this.#entries.delete(oldest);
  }
}

function digest(request: VerifyRequest): string {
  const { token, scopes = [], core, cost = 1, address, method } = request;
  const text = JSON.stringify([token, [...scopes].sort(), core, cost, address, method]);
  return createHash("sha256").update(text).digest("base64");
}
