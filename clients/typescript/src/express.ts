/** A guard for Express: `app.get("/orders", requireKey(gateway, { scopes: ["orders:read"] }), handler)`. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { GatewayClient, Verification } from "./gateway.js";
import { decider, Denial, type KeyOptions } from "./middleware.js";

interface ExpressRequest extends IncomingMessage {
  /** Depends on the setting `trust proxy`. */
  ip?: string | undefined;
  /** The decision, after the guard has allowed the request. */
  gatehouse?: Verification;
}

export function requireKey(gateway: GatewayClient, options: KeyOptions = {}) {
  const decide = decider(gateway, options);
  return (request: ExpressRequest, response: ServerResponse, next: (error?: unknown) => void): void => {
    const { authorization = [], "x-api-key": apiKey = [] } = request.headersDistinct;
    const { method = "GET", ip: address } = request;
    decide({ source: request, method, authorization, apiKey, address }).then((result) => {
      for (const [name, value] of Object.entries(result.headers)) response.setHeader(name, value);
      if (result instanceof Denial) {
        response.statusCode = result.status;
        response.end(result.body);
        return;
      }
      request.gatehouse = result;
      next();
    }, next);
  };
}
