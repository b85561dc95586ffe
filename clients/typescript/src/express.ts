/** A guard for Express: `app.get("/orders", requireKey(gateway, { scopes: ["orders:read"] }), handler)`. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { GatewayClient, Verification } from "./gateway.js";
import { decider, Denial, type KeyOptions } from "./middleware.js";

declare global {
  namespace Express {
    interface Request {
      /** The decision, after the guard has allowed the request. */
      gatehouse?: Verification;
    }
  }
}

interface ExpressRequest extends IncomingMessage {
  /** Depends on the setting `trust proxy`. */
  ip?: string | undefined;
  gatehouse?: Verification;
}

export function requireKey(gateway: GatewayClient, options: KeyOptions = {}) {
  const decide = decider(gateway, options);
  return (request: ExpressRequest, response: ServerResponse, next: (error?: unknown) => void): void => {
    const values = (name: string) => request.headersDistinct[name] ?? [];
    const { method = "GET", ip: address } = request;
    decide({ source: request, method, values, address }).then((result) => {
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
