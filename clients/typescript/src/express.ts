/** Middleware for Express: `app.use(requireKey(gateway, { scopes: ["orders:read"] }))`. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { GatewayClient, Verification } from "./gateway.js";
import { decide, Denial, type KeyOptions } from "./middleware.js";

interface ExpressRequest extends IncomingMessage {
  baseUrl?: string;
  path?: string;
  /** Depends on the setting `trust proxy`. */
  ip?: string | undefined;
  /** The decision, after the middleware has allowed the request. */
  gatehouse?: Verification;
}

export function requireKey(gateway: GatewayClient, options: KeyOptions = {}) {
  return (request: ExpressRequest, response: ServerResponse, next: (error?: unknown) => void): void => {
    const { authorization = [], "x-api-key": apiKey = [] } = request.headersDistinct;
    decide(gateway, options, {
      method: request.method ?? "GET",
      path: (request.baseUrl ?? "") + (request.path ?? ""),
      authorization,
      apiKey,
      address: request.ip,
    }).then((result) => {
      for (const [name, value] of Object.entries(result?.headers ?? {})) response.setHeader(name, value);
      if (result instanceof Denial) {
        response.statusCode = result.status;
        response.end(result.body);
        return;
      }
      if (result !== null) request.gatehouse = result;
      next();
    }, next);
  };
}
