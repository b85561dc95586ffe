/** A guard for Fastify: `app.get("/orders", { onRequest: requireKey(gateway, { scopes: ["orders:read"] }) }, handler)`. */
import type { IncomingMessage } from "node:http";
import type { GatewayClient, Verification } from "./gateway.js";
import * as middleware from "./middleware.js";
import { decider, Denial, type KeyOptions } from "./middleware.js";

interface FastifyRequest {
  raw: IncomingMessage;
  method: string;
  /** Depends on the option `trustProxy`. */
  ip: string;
}

interface FastifyReply {
  code(status: number): FastifyReply;
  headers(values: Record<string, string>): FastifyReply;
  send(body: Uint8Array): FastifyReply;
}

/** The decision on a request that the guard has allowed. Undefined if the request needs no key. */
export function decisionOf(request: { raw: object }): Verification | undefined {
  return middleware.decisionOf(request.raw);
}

export function requireKey(gateway: GatewayClient, options: KeyOptions = {}) {
  const decide = decider(gateway, options);
  return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> => {
    const { raw: source, method, ip: address } = request;
    const values = (name: string) => source.headersDistinct[name] ?? [];
    const result = await decide({ source, method, values, address });
    reply.headers(result.headers);
    if (result instanceof Denial) return reply.code(result.status).send(Buffer.from(result.body));
    return undefined;
  };
}
