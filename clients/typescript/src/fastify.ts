/** A hook for Fastify: `app.addHook("onRequest", requireKey(gateway, { scopes: ["orders:read"] }))`. */
import type { IncomingMessage } from "node:http";
import type { GatewayClient, Verification } from "./gateway.js";
import { decide, Denial, type KeyOptions } from "./middleware.js";

interface FastifyRequest {
  raw: IncomingMessage;
  method: string;
  url: string;
  /** Depends on the option `trustProxy`. */
  ip: string;
}

interface FastifyReply {
  code(status: number): FastifyReply;
  headers(values: Record<string, string>): FastifyReply;
  send(body: Uint8Array): FastifyReply;
}

const decisions = new WeakMap<object, Verification>();

/** The decision on a request that the hook has allowed. Undefined if the request needs no key. */
export function decisionOf(request: object): Verification | undefined {
  return decisions.get(request);
}

export function requireKey(gateway: GatewayClient, options: KeyOptions = {}) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> => {
    const { authorization = [], "x-api-key": apiKey = [] } = request.raw.headersDistinct;
    const result = await decide(gateway, options, {
      method: request.method,
      path: request.url.split("?", 1)[0] ?? "/",
      authorization,
      apiKey,
      address: request.ip,
    });
    if (result === null) return undefined;
    reply.headers(result.headers);
    if (result instanceof Denial) return reply.code(result.status).send(Buffer.from(result.body));
    decisions.set(request, result);
    return undefined;
  };
}
